"""The stretch of a bundle, read from the stream: its events go into files, and are checked."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from adapters.tlog.archive import Spool
from adapters.tlog.cutting import Cut, Feed
from adapters.tlog.proofs import Around, Sealed
from domain.errors import NotVerified
from domain.tlog.leaf import RawEvent, leaf_data
from domain.tlog.merkle import leaf_hash
from domain.tlog.names import tenant_of_subject
from domain.tlog.ranges import RangeRoot

# Events with a proof of their own in the C2SP form, as examples.
MOST_PROOFS = 100


class Stretch:
    """Takes the events of a cut, of all tenants, and writes down what goes into the bundle."""

    def __init__(
        self,
        stream: str,
        tenant_id: str,
        cut: Cut,
        own: Around,
        inside: Around,
        lines: Spool,
        leaves: Spool,
    ) -> None:
        self._stream = stream
        self._tenant_id = tenant_id
        self._cut = cut
        self._around = (own, inside)
        self._own = RangeRoot(own.start, own.before)
        self._inside = RangeRoot(inside.start, inside.before)
        self._lines = lines
        self._leaves = leaves
        # Leaves of the events before and after; the first ones of the others.
        self.edges: dict[int, str] = {}
        self.examples: list[tuple[int, bytes]] = []

    def take(self, event: RawEvent) -> None:
        """The next event of the stream."""
        leaf = leaf_data(self._stream, event)
        hashed, mine = leaf_hash(leaf), tenant_of_subject(event.subject) == self._tenant_id
        if mine:
            self._own.add(hashed)
        if not self._cut.holds(event.position):
            if mine:
                self.edges[event.position] = encoded(leaf)
            return
        self._inside.add(hashed)
        self._leaves.write(hashed)
        if mine:
            self._lines.write(_line(event))
            if len(self.examples) < MOST_PROOFS:
                self.examples.append((event.position, leaf))

    def check(self, sealed: Sealed, stream_sealed: Sealed) -> None:
        """Raises `NotVerified` when that was not what the checkpoints were signed over."""
        own, inside = self._around
        wanted = [(self._own, own, sealed)]
        if self._cut.count:
            wanted.append((self._inside, inside, stream_sealed))
        for made, around, signed in wanted:
            try:
                root = made.root(around.after, signed.checkpoint.size)
            except ValueError as error:
                raise NotVerified("the stream", "it lacks events; run audit verify") from error
            if root != signed.checkpoint.root:
                raise NotVerified(
                    "the stream", "its events and tiles are not what was signed; run audit verify"
                )


async def positions(feed: Feed, begin: int, end: int) -> AsyncGenerator[RawEvent, None]:
    """The stream's events of these positions."""
    if end:
        async with aclosing(feed.read(begin - 1)) as batches:
            async for batch in batches:
                for one in batch:
                    if one.position > end:
                        return
                    yield one


def _line(event: RawEvent) -> bytes:
    row: dict[str, Any] = {
        "position": event.position,
        "stored_ns": event.stored_ns,
        "subject": event.subject,
        "headers": encoded(event.block),
        "body": encoded(event.body),
    }
    return json.dumps(row).encode() + b"\n"


def encoded(raw: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(raw).decode()
