"""Room for work, shared by parties: bounded, in order for each, and nobody waits behind another's
backlog."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from adapters.jetstream.shares import Shares


def test_who_brings_little_begins_before_the_backlog_of_another() -> None:
    shares: Shares[str] = Shares(2)
    for number in range(5):
        shares.put("much", f"much {number}", 1, 1)
    assert [shares.next(), shares.next(), shares.next()] == ["much 0", "much 1", None]
    shares.put("little", "little 0", 1, 1)
    assert shares.next() is None
    shares.give_back("much", 1)
    assert shares.next() == "little 0"
    shares.give_back("little", 1)
    assert shares.next() == "much 2"


def test_a_heavy_piece_runs_alone_and_is_not_overtaken_for_ever() -> None:
    shares: Shares[str] = Shares(2)
    shares.put("light", "light 0", 1, 1)
    assert shares.next() == "light 0"
    shares.put("heavy", "heavy", 9, 1)
    shares.put("light", "light 1", 1, 1)
    assert shares.next() is None, "the heavy one has its turn"
    shares.give_back("light", 1)
    assert shares.next() == "heavy"
    assert shares.next() is None
    shares.give_back("heavy", 9)
    assert shares.next() == "light 1"


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=30),
    st.data(),
)
def test_all_begin_in_their_partys_order_and_within_the_limit(
    limit: int, brought: list[tuple[str, int]], data: st.DataObject
) -> None:
    shares: Shares[tuple[str, int, int]] = Shares(limit)
    expected: dict[str, list[int]] = defaultdict(list)
    begun: dict[str, list[int]] = defaultdict(list)
    running: list[tuple[str, int, int]] = []
    coming = list(enumerate(brought))
    while True:
        if coming and (not running or data.draw(st.booleans())):
            number, (party, weight) = coming.pop(0)
            expected[party].append(number)
            shares.put(party, (party, number, weight), weight, 1)
        elif running:
            party, _, weight = running.pop(data.draw(st.integers(0, len(running) - 1)))
            shares.give_back(party, weight)
        while (piece := shares.next()) is not None:
            running.append(piece)
            begun[piece[0]].append(piece[1])
            assert len(running) == 1 or sum(weight for *_, weight in running) <= limit
        if not running:
            assert begun == expected, "nothing waits while there is room"
            if not coming:
                break
    assert begun == expected


async def test_waiting_is_bounded_by_number_and_size() -> None:
    shares: Shares[int] = Shares(1, waiting=2, waiting_bytes=10)
    await shares.room_to_wait()
    shares.put("a", 0, 1, 1)
    shares.put("a", 1, 1, 1)
    waiting = asyncio.create_task(shares.room_to_wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert shares.next() == 0
    await waiting
    shares.put("a", 2, 1, 10)
    waiting = asyncio.create_task(shares.room_to_wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert shares.drop_waiting() == [1, 2]
    await waiting
    idle = asyncio.create_task(shares.idle())
    await asyncio.sleep(0)
    assert not idle.done()
    shares.give_back("a", 1)
    await idle
