"""Carries out what events say is gone: contents are removed, keys destroyed.

The event comes first, always, and this after it: a crash in between leaves text that is still
there, and an event that says it is not; whoever runs next finishes. Nothing is removed that no
event names. What is damaged, so that its parts can't be told, is told of and left; the rest goes.
"""

from __future__ import annotations

import logging
from contextlib import aclosing

from adapters.crypto.keys import KeyRing
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.content_store import JetStreamContentStore
from adapters.jetstream.dead_letters import DeadLetters
from adapters.retention.damaged import Damaged
from domain.envelope import Selection, StoredEvent
from domain.errors import ContentCorrupt, NotFound
from domain.events import ContentExpired, ContentShredded
from domain.ids import TENANT_BRANCH
from domain.ports import EventStore

log = logging.getLogger(__name__)

BUCKET = "CONFIGTRAIL_RETENTION"
_PLACE = "removed"
_LETTERS = 500
_WHERE = Selection(types=(ContentExpired.__name__, ContentShredded.__name__))


class Remover:
    """Any number may run: everything that it does is the same done twice."""

    def __init__(
        self,
        events: EventStore,
        content: JetStreamContentStore,
        keyring: KeyRing,
        dead_letters: DeadLetters,
        bucket: Bucket,
        damaged: Damaged,
    ) -> None:
        self._events = events
        self._content = content
        self._keyring = keyring
        self._dead_letters = dead_letters
        self._bucket = bucket
        self._damaged = damaged

    async def finish(self) -> int:
        """Remove whatever events say is gone and may still be there; how many events that were.

        Where it ended is kept, for the stream that it was: a lost place costs only work. Raises
        `Unavailable`.
        """
        created = (await self._events.identity()).created.isoformat()
        head = await self._events.head()
        kept = (await self._bucket.get(_PLACE) or b"").decode().partition(" ")
        after = int(kept[0]) if kept[2] == created else 0
        done = 0
        async with aclosing(self._events.read(after, until=head, where=_WHERE)) as batches:
            async for batch in batches:
                for stored in batch:
                    await self.carry_out(stored)
                    done += 1
        if head > after:
            await self._bucket.put(f"{head} {created}".encode(), _PLACE)
        return done

    async def carry_out(self, stored: StoredEvent) -> None:
        """Remove what one event says is gone."""
        tenant_id, device_id = stored.tenant_id, stored.device_id
        match stored.event:
            case ContentExpired() as event:
                for one in event.contents:
                    try:
                        await self._content.remove(one.content.sequence)
                    except ContentCorrupt as error:
                        self._damaged.tell(f"{tenant_id}/{device_id}", error)
            case ContentShredded() as event:
                device = None if device_id == TENANT_BRANCH else device_id
                for key_id in event.key_ids:
                    await self._keyring.destroy(tenant_id, device, bytes.fromhex(key_id))
                if device is not None:
                    await self._content.remove_all(tenant_id, device, event.content_until)
                await self._forget_letters(stored, device)
                log.info("the texts that event %d names are erased", stored.position)
            case _:
                raise AssertionError(f"event {stored.position} removes nothing")

    async def _forget_letters(self, stored: StoredEvent, device_id: str | None) -> None:
        """Messages of the erased that could not be recorded hold texts too. They are no facts."""
        before: int | None = None
        while letters := await self._dead_letters.list(_LETTERS, before):
            for letter in letters:
                theirs = letter.tenant_id == stored.tenant_id
                theirs = theirs and device_id in (None, letter.device_id)
                if theirs and letter.received_at <= stored.stored_at:
                    try:
                        await self._dead_letters.settle(letter.sequence)
                    except NotFound:
                        log.debug("another one removed the dead letter %d", letter.sequence)
                    except ContentCorrupt as error:
                        self._damaged.tell("dead letters", error)
            before = letters[-1].sequence
