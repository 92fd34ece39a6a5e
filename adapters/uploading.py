"""Configurations of pollers without NATS: through the intake, under its rules, and with an answer.

An idempotency key stands for one observation: asked again with it, however often and whatever
became of the first answer, it is the same observation, and so has the same fact.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct
from nats.js import JetStreamContext

from adapters.crypto.keys import KeyRing
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.intake import IntakePublisher
from adapters.jetstream.progress import acknowledged
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import INTAKE
from adapters.roles.recorder import CONSUMER
from domain.decisions import observed_event_id
from domain.envelope import Head, StoredEvent
from domain.errors import ConfigtrailError, InvalidInput, Unavailable
from domain.events import DuplicateSkipped, SnapshotCreated
from domain.ids import keyed_digest, observation_id, to_token
from domain.intake import check_text, parse_observation
from domain.ports import EventStore

Outcome = Literal["created", "partial", "duplicate", "pending"]

KEYS: Final = "CONFIGTRAIL_UPLOADS"
KEPT_SECONDS: Final = 7 * 24 * 3600
WAIT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = (0.01, 0.25)
# After it, whether the recorder is done with it is asked for too: then it had its fact before.
_SURELY_SECONDS: Final = 0.5


class KeyReused(ConfigtrailError):
    """An idempotency key came again with something else."""

    def __init__(self) -> None:
        super().__init__(
            "the idempotency key was used for another upload; give each upload a key of its own"
        )


class Upload(Struct, frozen=True, kw_only=True):
    """What a poller sends. `collected_at` None: now."""

    tenant_id: str
    device_id: str
    text: bytes
    collected_at: datetime | None = None
    platform: str | None = None
    os_version: str | None = None
    idempotency_key: str | None = None


class Uploaded(Struct, frozen=True, kw_only=True):
    """What became of it. `position` and `snapshot_id` are None while it is on its way."""

    outcome: Outcome
    collected_at: datetime
    position: int | None = None
    snapshot_id: str | None = None


class _Kept(Struct, frozen=True):
    collected_at: datetime
    fingerprint: str


class Uploads:
    """Sends uploads to the intake, and waits until they are facts."""

    def __init__(
        self,
        js: JetStreamContext,
        *,
        intake: IntakePublisher,
        source: JetStreamSource,
        events: EventStore,
        keyring: KeyRing,
        keys: Bucket,
    ) -> None:
        self._js = js
        self._intake = intake
        self._source = source
        self._events = events
        self._keyring = keyring
        self._keys = keys

    async def take(self, upload: Upload) -> Uploaded:
        """Record an upload. Raises `InvalidInput` for what the intake would refuse, `KeyReused`,
        `IntakeFull`, `Unavailable`."""
        now = datetime.now(UTC)
        text = _text(upload.text)
        digest = hashlib.sha256(upload.text).hexdigest()
        moment = upload.collected_at or now
        _check(upload, digest, moment, now)
        await asyncio.to_thread(check_text, text, digest)
        if upload.idempotency_key is not None:
            moment = await self._moment_of(upload, upload.idempotency_key, digest, moment)
        keys = await self._keyring.tenant(upload.tenant_id)
        identity = observation_id(
            keys.fingerprint_key, upload.tenant_id, upload.device_id, moment, digest
        )
        before = await self._source.branch_head(upload.tenant_id, upload.device_id)
        sequence = await self._intake.publish(
            upload.tenant_id,
            upload.device_id,
            text,
            moment,
            source="pushed",
            routeros_version=upload.os_version,
            platform=upload.platform,
        )
        found = await self._fact(upload, observed_event_id(identity), before, sequence)
        return _told(found, moment)

    async def _moment_of(self, upload: Upload, key: str, digest: str, moment: datetime) -> datetime:
        """The time of the observation that the key stands for: of the first upload with it."""
        keys = (await self._keyring.tenant(upload.tenant_id)).fingerprint_key
        given = upload.collected_at.astimezone(UTC).isoformat() if upload.collected_at else ""
        said = [one for one in (upload.platform, upload.os_version) if one is not None]
        mark = keyed_digest(keys, "upload", upload.device_id, given, digest, *said).hex()
        name = keyed_digest(keys, "upload key", upload.device_id, key).hex()
        tenant = to_token(upload.tenant_id)
        mine = msgspec.json.encode(_Kept(moment, mark))
        if await self._keys.create(mine, tenant, name):
            return moment
        raw = await self._keys.get(tenant, name)
        if raw is None:
            raise Unavailable("the memory of idempotency keys", "it was just forgotten")
        kept = msgspec.json.decode(raw, type=_Kept)
        if kept.fingerprint != mark:
            raise KeyReused
        return kept.collected_at

    async def _fact(
        self, upload: Upload, event_id: str, before: Head, sequence: int
    ) -> StoredEvent | None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        pause, longest = _LOOK_SECONDS
        while True:
            # Asked first: what the recorder is done with is in the branch that is read then.
            done = (
                loop.time() - begun > _SURELY_SECONDS
                and await acknowledged(self._js, INTAKE, CONSUMER) >= sequence
            )
            found = await self._find(upload, event_id, Head() if done else before)
            if found is not None:
                return found
            if done:
                raise Unavailable(
                    "the recorder", "it could not record the upload; see the dead letters"
                )
            if loop.time() - begun > WAIT_SECONDS:
                return None
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, longest)

    async def _find(self, upload: Upload, event_id: str, after: Head) -> StoredEvent | None:
        branch = self._events.read_branch(upload.tenant_id, upload.device_id, after)
        async with aclosing(branch) as events:
            async for stored in events:
                if stored.event_id == event_id:
                    return stored
        return None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        # The error itself would carry the text along.
        raise InvalidInput("config_text", "must be UTF-8") from None


def _check(upload: Upload, digest: str, moment: datetime, now: datetime) -> None:
    """Everything but the text, by the rules of the intake."""
    fields = {
        "tenant_id": upload.tenant_id,
        "device_id": upload.device_id,
        "sha256_hash": digest,
        "config_text": "",
        "collected_at": moment.isoformat(),
        "platform": upload.platform,
        "routeros_version": upload.os_version,
    }
    try:
        parse_observation(json.dumps(fields).encode(), now)
    except InvalidInput as error:
        # Messages call it by the name that it had when there was RouterOS alone.
        if error.field != "routeros_version":
            raise
        raise InvalidInput("os_version", error.rule) from None


def _told(found: StoredEvent | None, moment: datetime) -> Uploaded:
    if found is None:
        return Uploaded(outcome="pending", collected_at=moment)
    match found.event:
        case SnapshotCreated() as event:
            outcome: Outcome = "created" if event.completeness == "complete" else "partial"
            snapshot_id = event.snapshot_id
        case DuplicateSkipped() as event:
            outcome, snapshot_id = "duplicate", event.snapshot_id
        case _:
            raise RuntimeError("an observation became another fact")
    return Uploaded(
        outcome=outcome,
        collected_at=moment,
        position=found.position,
        snapshot_id=snapshot_id,
    )
