"""The intake as its publishers and the recorder see it: messages, and texts that come in parts.

A message that would exceed the server's `max_payload` is sent without its text: the text goes ahead
as zstd-compressed parts on `config.upload.<upload>.<n>`, and the message names the upload.
Parts that nobody claims expire on their own.

Where tenants have NATS accounts of their own, the server adds the sender's tenant to the subject as
one token more, and what names another tenant is refused.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime

import msgspec
import zstandard
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from adapters.jetstream.connection import REQUEST_TIMEOUT_SECONDS, outage_as_unavailable
from adapters.jetstream.dead_letters import ATTACHED_MAX, Attached
from adapters.jetstream.publisher import Publisher
from adapters.jetstream.streams import INTAKE
from domain.attribution import DeviceHistory, history_as_json
from domain.errors import ConfigtrailError, InvalidInput
from domain.ids import check_tenant_id, from_token
from domain.intake import MAX_TEXT

CREATE = "config.snapshot.create"
FAILED = "config.snapshot.failed"
PART = "config.upload"
PART_TTL_SECONDS = 7 * 24 * 3600
PART_BYTES = 512 * 1024
_PART_HEADERS = {"Nats-TTL": f"{PART_TTL_SECONDS}s"}
_HEADROOM = 4096


def sent_as(subject: str) -> tuple[str, str | None]:
    """What a message is, `CREATE` or `FAILED`, and the tenant whose account sent it: None when it
    came from no tenant's account. Raises `InvalidInput` for other subjects."""
    for kind in (CREATE, FAILED):
        if subject == kind:
            return kind, None
        if subject.startswith(f"{kind}."):
            try:
                return kind, check_tenant_id(from_token(subject.removeprefix(f"{kind}.")))
            except (ValueError, InvalidInput) as error:
                raise InvalidInput("subject", f"must name a tenant after {kind}") from error
    raise InvalidInput("subject", f"must be {CREATE} or {FAILED}")


class IntakeFull(ConfigtrailError):
    """The intake holds as much as it may: nothing was taken, and nothing is lost."""

    def __init__(self) -> None:
        super().__init__(
            "the intake is full and refuses; start or repair the recorder, or raise "
            "CONFIGTRAIL_INTAKE_MAX_BYTES, then send again"
        )


class IntakePublisher:
    """Sends observations to the intake, in the wire format that any poller may use."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._publisher = Publisher(nc)

    async def publish(
        self,
        tenant_id: str,
        device_id: str,
        text: str,
        collected_at: datetime,
        *,
        source: str | None = None,
        routeros_version: str | None = None,
        trigger_id: str | None = None,
        platform: str | None = None,
        author: str | None = None,
        device_history: DeviceHistory | None = None,
    ) -> int:
        """Send one reading; returns its sequence on the intake once it is durable there.

        Raises `InvalidInput` for a text beyond the limit, `IntakeFull`, `Unavailable`.
        """
        raw = text.encode()
        if len(raw) > MAX_TEXT:
            raise InvalidInput("config_text", f"must be at most {MAX_TEXT} bytes, is {len(raw)}")
        optional = {
            "source": source,
            "routeros_version": routeros_version,
            "trigger_id": trigger_id,
            "platform": platform,
            "author": author,
            "device_history": history_as_json(device_history) if device_history else None,
        }
        message: dict[str, object] = {
            "tenant_id": tenant_id,
            "device_id": device_id,
            "sha256_hash": hashlib.sha256(raw).hexdigest(),
            "collected_at": collected_at.astimezone(UTC).isoformat(),
            "normalization_version": 0,
            **{name: value for name, value in optional.items() if value is not None},
        }
        whole = msgspec.json.encode({**message, "config_text": text})
        if len(whole) + _HEADROOM <= self._nc.max_payload:
            return await self.publish_raw(CREATE, whole)
        message["config_parts"] = await self._send_parts(raw)
        return await self.publish_raw(CREATE, msgspec.json.encode(message))

    async def publish_raw(
        self, subject: str, body: bytes, headers: dict[str, str] | None = None
    ) -> int:
        """Send bytes as they are; returns their sequence on the intake."""
        with outage_as_unavailable("sending to the intake"):
            try:
                ack = await self._publisher.publish(
                    subject,
                    body,
                    headers or {},
                    timeout=REQUEST_TIMEOUT_SECONDS,
                    stream=INTAKE,
                )
            except APIError as error:
                if error.err_code in (10077, 10047):  # the stream's or the account's limit
                    raise IntakeFull from error
                raise
        return ack.seq

    async def _send_parts(self, raw: bytes) -> dict[str, object]:
        upload = uuid.uuid4().hex
        packed = zstandard.compress(raw, 3)
        size = min(PART_BYTES, self._nc.max_payload - _HEADROOM)
        pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
        for number, piece in enumerate(pieces):
            await self.publish_raw(f"{PART}.{upload}.{number}", piece, dict(_PART_HEADERS))
        return {"upload": upload, "count": len(pieces)}


class IntakeParts:
    """The texts that came in parts, as the recorder fetches and then forgets them."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def text(self, upload: str, count: int) -> str:
        """The text of an upload. `InvalidInput` when parts are missing or not what they must be."""
        pieces = []
        for number in range(count):
            with outage_as_unavailable("fetching a part of an upload"):
                try:
                    msg = await self._js.get_msg(INTAKE, subject=f"{PART}.{upload}.{number}")
                except NotFoundError as error:
                    raise InvalidInput(
                        "config_parts", f"part {number} of {count} is not on the intake"
                    ) from error
            pieces.append(msg.data or b"")
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        try:
            with unpacker.stream_reader(b"".join(pieces)) as reader:
                raw = reader.read(MAX_TEXT + 1)
        except zstandard.ZstdError as error:
            raise InvalidInput("config_parts", "the parts are not one zstd frame") from error
        if len(raw) > MAX_TEXT:
            raise InvalidInput("config_text", f"must be at most {MAX_TEXT} bytes")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput("config_text", "must be UTF-8") from error

    async def attached(self, upload: str, count: int) -> tuple[Attached, ...]:
        """The parts that are there, to be kept with a refused message; none when they are more
        than can be kept."""
        found: list[Attached] = []
        room = ATTACHED_MAX
        for number in range(count):
            subject = f"{PART}.{upload}.{number}"
            with outage_as_unavailable("fetching a part of an upload"):
                try:
                    msg = await self._js.get_msg(INTAKE, subject=subject)
                except NotFoundError:
                    continue
            body = msg.data or b""
            room -= len(body)
            if room < 0:
                return ()
            found.append(Attached(subject, _PART_HEADERS, body))
        return tuple(found)

    async def forget(self, upload: str) -> None:
        """Remove the parts of an upload whose fact is recorded."""
        with outage_as_unavailable("removing the parts of an upload"):
            await self._js.purge_stream(INTAKE, subject=f"{PART}.{upload}.*")
