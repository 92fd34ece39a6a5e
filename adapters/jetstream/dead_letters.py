"""Messages that could not be processed: kept whole, with the reason, until they are retried.

A letter lies on `configtrail-deadletters.<origin>`. Its headers tell origin, subject, reason and
times in the clear, for listings; its body is the message (subject, headers, bytes), sealed, since
it may be configuration text. Letters are work to do and not facts: a letter is removed once its
message was taken again, so that what is listed is what is open. The facts about the retried message
are in the log of events, or it is back here as a new letter.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct
from nats.errors import BadSubjectError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError

from adapters.crypto import blob
from adapters.crypto.blob import BlobContext
from adapters.crypto.keys import SYSTEM, KeyRing
from adapters.jetstream import letter
from adapters.jetstream.connection import (
    REQUEST_TIMEOUT_SECONDS,
    missing_as_unavailable,
    outage_as_unavailable,
)
from adapters.jetstream.letter import COMMITMENT, DeadLetter
from adapters.jetstream.parted import FULL, PART_BYTES, Parted, PartedStream
from domain.errors import ContentCorrupt, ContentMissing, InvalidInput, NotFound, Unavailable
from domain.ids import keyed_digest

__all__ = ["DEAD_LETTERS", "DeadLetter", "DeadLetters", "dead_letters_stream_config"]

log = logging.getLogger(__name__)

DEAD_LETTERS: Final = "CONFIGTRAIL_DEADLETTERS"
DEAD_LETTERS_SUBJECT: Final = "configtrail-deadletters.>"
_LETTERS: Final = "configtrail-deadletters.*"
_KIND: Final = "dead-letter"
_DAY_SECONDS: Final = 24 * 3600
_FETCH: Final = 256
# Only the intake's messages can be sent again: a recorded event would be recorded twice.
_RETRIABLE: Final = "config."
# What is sealed in one piece has a limit; the message itself and its frame need some of it.
ATTACHED_MAX: Final = blob.MAX_TEXT - 16 * 1024 * 1024


class Attached(Struct, frozen=True):
    """Another message that belongs to a refused one: a part of a text that was sent in parts."""

    subject: str
    headers: dict[str, str]
    body: bytes


class _Original(Struct, frozen=True):
    """What is sealed: the message as it came, and what belongs to it."""

    subject: str
    headers: dict[str, str]
    body: bytes
    attached: tuple[Attached, ...] = ()


def dead_letters_stream_config() -> StreamConfig:
    """Letters stay until they are retried; a full stream refuses.

    The long duplicate window lets a message redelivered after hours of outage find its letter.
    """
    return StreamConfig(
        name=DEAD_LETTERS,
        subjects=[DEAD_LETTERS_SUBJECT],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        deny_delete=False,
        allow_direct=True,
        duplicate_window=_DAY_SECONDS,
    )


class DeadLetters:
    """The dead letters of all roles. `part_bytes` as in `JetStreamContentStore`."""

    def __init__(
        self, js: JetStreamContext, keyring: KeyRing, *, part_bytes: int = PART_BYTES
    ) -> None:
        self._js = js
        self._keyring = keyring
        self._stream = PartedStream(js, DEAD_LETTERS, limit=blob.MAX_BLOB, part_bytes=part_bytes)

    async def put(
        self,
        origin: str,
        subject: str,
        original: bytes,
        *,
        field: str,
        rule: str,
        tenant_id: str | None,
        device_id: str | None,
        headers: dict[str, str] | None,
        dedupe_id: str | None,
        attached: tuple[Attached, ...] = (),
    ) -> int:
        """Keep a message, and what is `attached` to it (in all at most `ATTACHED_MAX` bytes), with
        the reason; returns the letter's sequence once it is durable.

        `field` and `rule` must hold nothing from a configuration. The same message under the same
        `dedupe_id` within a day gives the letter that is there. Raises `Unavailable`.
        """
        keys = await self._keyring.system()
        message = _Original(subject, headers or {}, original, attached)
        sealed, commitment = await asyncio.to_thread(
            blob.seal, keys, _context(origin), msgspec.msgpack.encode(message)
        )
        told = letter.to_headers(
            subject=subject,
            field=field,
            rule=rule,
            received_at=datetime.now(UTC),
            size_bytes=len(original) + sum(len(one.body) for one in attached),
            commitment=commitment,
            tenant_id=tenant_id,
            device_id=device_id,
            letter_id=dedupe_id,
        )
        if dedupe_id is not None:
            # With the message in it: the id may be used anew after its stream was recreated.
            identity = keyed_digest(keys.fingerprint_key, "letter", dedupe_id, subject, original)
            told["Nats-Msg-Id"] = identity.hex()
        ack, parts = await self._stream.write(
            letter.subject_of(origin),
            sealed,
            part_subject=f"{letter.subject_of(origin)}.part",
            headers=told,
        )
        if ack.duplicate:
            await self._remove(parts)
        return ack.seq

    async def list(self, limit: int, before: int | None = None) -> list[DeadLetter]:
        """Up to `limit` letters, newest first: those with a sequence below `before`."""
        with missing_as_unavailable(DEAD_LETTERS), outage_as_unavailable("listing dead letters"):
            state = (await self._js.stream_info(DEAD_LETTERS)).state
            end = state.last_seq + 1 if before is None else min(before, state.last_seq + 1)
            first = max(1, state.first_seq)
            span = 4 * limit
            while True:
                start = max(first, end - span)
                found = await _between(self._js, start, end, limit)
                if len(found) == limit or start == first:
                    return found
                span *= 4

    async def get(self, sequence: int) -> DeadLetter:
        """One letter. Raises `NotFound`."""
        stored = await self._read(sequence)
        return letter.from_headers(sequence, stored.subject, stored.headers)

    async def original(self, sequence: int) -> bytes:
        """The message's bytes as they came, verified. Raises `NotFound`, `ContentCorrupt`."""
        return (await self._original(sequence, await self._read(sequence))).body

    async def count(self) -> int:
        """How many letters there are."""
        with missing_as_unavailable(DEAD_LETTERS), outage_as_unavailable("counting dead letters"):
            info = await self._js.stream_info(DEAD_LETTERS, subjects_filter=_LETTERS)
        return sum((info.state.subjects or {}).values())

    async def retry(self, sequence: int) -> int:
        """Send the message again as it came; its letter is removed once it is durable there.

        Returns the message's new sequence on the intake. Raises `NotFound`, `ContentCorrupt`,
        `Unavailable`, and `InvalidInput` for a message that did not come from the intake.
        """
        stored = await self._read(sequence)
        message = await self._original(sequence, stored)
        if not message.subject.startswith(_RETRIABLE):
            raise InvalidInput(
                "sequence",
                f"the letter {sequence} is about {message.subject}; "
                "only messages of the intake can be sent again",
            )
        headers = {
            name: value
            for name, value in message.headers.items()
            if not name.lower().startswith("nats-")
        }
        # A retry whose letter could not be removed is found to be one, within the window there.
        headers["Nats-Msg-Id"] = f"retry.{sequence}.{stored.headers.get(COMMITMENT, '')}"
        try:
            for one in message.attached:
                await self._send(one.subject, one.body, dict(one.headers))
            sent = await self._send(message.subject, message.body, headers)
        except BadSubjectError as error:
            raise InvalidInput(
                "sequence",
                f"the letter {sequence} came on a subject with a blank in it, which no client sends"
                f" to: configtrail deadletters show {sequence} prints its message, to be sent on "
                "the subject that was meant; the letter stays",
            ) from error
        # A crash between the two leaves parts that no letter lists: sealed bytes, harmless.
        await self._remove((sequence, *stored.parts))
        return sent

    async def settle(self, sequence: int) -> None:
        """Remove a letter whose work is done. Raises `NotFound`, `Unavailable`."""
        stored = await self._read(sequence)
        await self._remove((sequence, *stored.parts))

    async def _send(self, subject: str, body: bytes, headers: dict[str, str]) -> int:
        with outage_as_unavailable("sending a dead letter's message again"):
            try:
                ack = await self._js.publish(
                    subject, body, headers=headers or None, timeout=REQUEST_TIMEOUT_SECONDS
                )
            except APIError as error:
                if error.err_code not in FULL:
                    raise
                raise Unavailable("the intake", "it is full; the letter stays") from error
        return ack.seq

    async def _remove(self, sequences: tuple[int, ...]) -> None:
        for sequence in sequences:
            await self._stream.delete(sequence)

    async def _read(self, sequence: int) -> Parted:
        try:
            stored = await self._stream.read(sequence)
        except ContentMissing as error:
            raise NotFound("dead letter", str(sequence)) from error
        if stored.subject.count(".") != 1:
            raise NotFound("dead letter", str(sequence))
        return stored

    async def _original(self, sequence: int, stored: Parted) -> _Original:
        keys = await self._keyring.system_opener(blob.key_id_of(stored.body))
        packed = await asyncio.to_thread(
            blob.unseal,
            keys,
            _context(letter.origin_of(stored.subject)),
            stored.body,
            stored.headers.get(COMMITMENT, ""),
            sequence=sequence,
        )
        try:
            return msgspec.msgpack.decode(packed, type=_Original)
        except msgspec.ValidationError as error:
            raise ContentCorrupt(sequence, "it does not hold a message") from error


def _context(origin: str) -> BlobContext:
    return BlobContext(SYSTEM, origin, _KIND)


async def _between(js: JetStreamContext, start: int, end: int, limit: int) -> list[DeadLetter]:
    """The newest letters in `start <= sequence < end`, newest first; only headers travel."""
    newest: deque[DeadLetter] = deque(maxlen=limit)
    made = await js.add_consumer(
        DEAD_LETTERS,
        ConsumerConfig(
            filter_subject=_LETTERS,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
            ack_policy=AckPolicy.NONE,
            headers_only=True,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=30.0,
        ),
    )
    # From the answer to its making: asked right afterwards, the server may say that nothing waits.
    waiting = made.num_pending or 0
    subscription = await js.pull_subscribe_bind(made.name, stream=DEAD_LETTERS)
    try:
        while waiting:
            for msg in await subscription.fetch(
                min(_FETCH, waiting), timeout=REQUEST_TIMEOUT_SECONDS
            ):
                sequence = msg.metadata.sequence.stream
                if sequence >= end:
                    return [*reversed(newest)]
                waiting = msg.metadata.num_pending
                try:
                    newest.append(letter.from_headers(sequence, msg.subject, msg.headers or {}))
                except ContentCorrupt as error:
                    # The others are listed, and whoever is erased is forgotten in them.
                    log.error("dead letter %d: %s", sequence, error.reason)
        return [*reversed(newest)]
    finally:
        await subscription.unsubscribe()
        await js.delete_consumer(DEAD_LETTERS, made.name)
