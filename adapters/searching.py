"""Searching the encrypted configurations of a tenant: decrypt, redact, look, forget.

Nothing is indexed: an index of the words would be configuration text at rest. So a search costs as
much as it reads (about 5 ms of one processor for 30 kB), and each page has a budget of time: it
tells how far it came, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from msgspec import Struct

from adapters.crypto.keys import KeyRing
from adapters.scanning import Query, ScanJob, Scanned, check, scanned
from adapters.turns import Turns
from domain.errors import ContentCorrupt, ContentMissing, KeyUnavailable, MasterKeyUnknown
from domain.events import ContentRef
from domain.ports import ContentStore
from projections.backups import Snapshot, TextPlace, texts_after
from projections.rows import Reader

log = logging.getLogger(__name__)

BUDGET_SECONDS: Final = 2.0
AT_ONCE: Final = 2
_WAITING: Final = 8
_WAIT_SECONDS: Final = 10.0
_CHUNK: Final = 8


class Match(Struct, frozen=True):
    """A snapshot with lines that match."""

    snapshot: Snapshot
    scanned: Scanned


class SearchPage(Struct, frozen=True):
    """What was found in so many texts. `unreadable`: so many more could not be looked through, as
    they are gone, or damaged, nobody knows where their secrets stand, or finding them takes too
    long. `after` None: that was all."""

    matches: tuple[Match, ...]
    searched: int
    unreadable: int
    after: TextPlace | None


class Searcher:
    """Searches, few at a time; tenants take turns."""

    def __init__(
        self,
        rows_of: Callable[[str], Reader],
        content: ContentStore,
        keyring: KeyRing,
        workers: Executor,
    ) -> None:
        self._rows_of = rows_of
        self._content = content
        self._keyring = keyring
        self._workers = workers
        self._turns = Turns("the search", AT_ONCE, waiting=_WAITING, seconds=_WAIT_SECONDS)

    async def search(
        self,
        tenant_id: str,
        query: Query,
        *,
        device_id: str | None = None,
        past: bool = False,
        place: TextPlace | None = None,
        limit: int = 50,
    ) -> SearchPage:
        """A page of at most `limit` snapshots that match, from a place on. Raises `InvalidInput`,
        `Unavailable`."""
        check(query)
        async with self._turns.turn(tenant_id):
            return await self._search(tenant_id, query, device_id, past, place, limit)

    async def _search(
        self,
        tenant_id: str,
        query: Query,
        device_id: str | None,
        past: bool,
        place: TextPlace | None,
        limit: int,
    ) -> SearchPage:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BUDGET_SECONDS
        matches: list[Match] = []
        searched = unreadable = 0
        while True:
            found = await texts_after(
                self._rows_of(tenant_id), tenant_id, device_id, place, past=past, limit=_CHUNK
            )
            # One by one: a text may take seconds, and others wait for the same process.
            for snapshot in found:
                lines = await self._scanned(snapshot, query)
                place = (snapshot.device_id, snapshot.collected_at, snapshot.position)
                if lines is None:
                    unreadable += 1
                else:
                    searched += 1
                    if lines.matching:
                        matches.append(Match(snapshot, lines))
                if len(matches) == limit or loop.time() >= deadline:
                    return SearchPage(tuple(matches), searched, unreadable, place)
            if len(found) < _CHUNK:
                return SearchPage(tuple(matches), searched, unreadable, None)

    async def _scanned(self, snapshot: Snapshot, query: Query) -> Scanned | None:
        if snapshot.text_gone is not None:
            return None
        ref = ContentRef(sequence=snapshot.content_sequence, commitment=snapshot.commitment)
        try:
            text = await self._content.get(snapshot.tenant_id, snapshot.device_id, "snapshot", ref)
        except ContentMissing:
            return None
        except MasterKeyUnknown:
            raise  # it is this program that lacks something
        except (ContentCorrupt, KeyUnavailable) as error:
            log.error("%s/%s is not searched: %s", snapshot.tenant_id, snapshot.device_id, error)
            return None
        keys = await self._keyring.tenant(snapshot.tenant_id)
        job = ScanJob(text, snapshot.platform, keys.fingerprint_key, snapshot.device_id, query)
        return await scanned(job, self._workers)
