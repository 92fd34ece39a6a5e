"""Which events a bundle holds: all of a time, also where the server's clock was set back."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from adapters.tlog.cutting import cut_of
from domain.tlog.leaf import RawEvent


class Feed:
    """Events of one tenant, as they were stored, and of another between them."""

    def __init__(self, times: list[int]) -> None:
        self.events: list[RawEvent] = []
        for number, told in enumerate(times):
            for tenant in ("acme", "globex"):
                position = len(self.events) + 1
                subject = f"configtrail.{tenant}.r1.X{number}"
                self.events.append(RawEvent(position, told, subject, b"", b""))

    async def ends(self) -> tuple[int, int]:
        return 1, len(self.events)

    async def read(self, after: int = 0) -> AsyncGenerator[list[RawEvent], None]:
        for start in range(after, len(self.events), 3):
            yield self.events[start : start + 3]


@pytest.mark.parametrize(
    ("times", "sealed", "before", "inside", "after"),
    [
        ([10, 20, 30, 40], 4, 10, [20, 30], 40),
        ([20, 30], 2, None, [20, 30], None),
        ([10, 40], 2, 10, [], 40),
        ([10], 1, 10, [], None),
        ([40], 1, None, [], 40),
        ([], 0, None, [], None),
        # What is not sealed is not in it.
        ([10, 20, 30, 40], 2, 10, [20], None),
        # The clock was set back: what stands between them is in it, whenever it was stored.
        ([10, 20, 15, 30, 40], 5, 10, [20, 15, 30], 40),
        ([10, 20, 40, 30, 40], 5, 10, [20, 40, 30], 40),
        ([10, 40, 20, 40], 4, 10, [40, 20], 40),
        ([10, 20, 40, 10, 40], 5, 10, [20], 40),
        ([10, 40, 10, 40], 4, 10, [], 40),
    ],
)
async def test_the_stretch_is_cut_where_what_is_outside_is_older_or_younger(
    times: list[int], sealed: int, before: int | None, inside: list[int], after: int | None
) -> None:
    feed = Feed(times)
    cut = await cut_of(feed, "acme", sealed, 20, 30)
    own = {one.position: one.stored_ns for one in feed.events if ".acme." in one.subject}
    assert [told for position, told in own.items() if cut.holds(position)] == inside
    assert [own.get(cut.before), own.get(cut.after)] == [before, after]
    there = [position for position in own if cut.begin <= position <= cut.end]
    assert len(there) == cut.width == cut.count + bool(cut.before) + bool(cut.after)
