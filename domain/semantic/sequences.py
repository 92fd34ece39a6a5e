"""Orders compared: which lines of two sequences are the same, and which of them moved."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from itertools import pairwise


def same_in_any_order(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of equal lines; of lines that repeat, the first with the first and so on."""
    start = _alike(before, after)
    pairs = [(at, at) for at in range(start)]
    places: defaultdict[str, deque[int]] = defaultdict(deque)
    for at in range(start, len(after)):
        places[after[at]].append(at)
    for at in range(start, len(before)):
        found = places.get(before[at])
        if found:
            pairs.append((at, found.popleft()))
    return pairs


def _alike(before: Sequence[str], after: Sequence[str]) -> int:
    """How many lines at the beginning are the same."""
    for at, (one, two) in enumerate(zip(before, after, strict=False)):
        if one != two:
            return at
    return min(len(before), len(after))


def same_in_order(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of equal lines, chosen so that few of them have moved. Takes n log n steps.

    Lines that are the only ones of their kind are sure; those that repeat are paired between the
    neighbours that they have in common, and only then anywhere.
    """
    start = _alike(before, after)
    shorter = min(len(before), len(after))
    tail = 0
    while tail < shorter - start and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    pairs = [(at, at) for at in range(start)]
    pairs += [(len(before) - at, len(after) - at) for at in range(1, tail + 1)]
    old = range(start, len(before) - tail)
    new = range(start, len(after) - tail)
    if not old or not new:
        return pairs
    counted = Counter(before[at] for at in old)
    found = Counter(after[at] for at in new)
    there = {after[at]: at for at in new}
    unique = [
        (at, there[before[at]]) for at in old if counted[before[at]] == 1 and found[before[at]] == 1
    ]
    pairs += unique
    kept = longest_increasing([there_at for _, there_at in unique])
    anchors = [(start - 1, start - 1), *(unique[at] for at in kept), (old.stop, new.stop)]
    taken_old = {at for at, _ in unique}
    taken_new = {at for _, at in unique}
    for (low, low_new), (high, high_new) in pairwise(anchors):
        gap = [at for at in range(low + 1, high) if at not in taken_old]
        gap_new = [at for at in range(low_new + 1, high_new) if at not in taken_new]
        for one, two in _in_order(before, after, gap, gap_new):
            pairs.append((one, two))
            taken_old.add(one)
            taken_new.add(two)
    left = [at for at in old if at not in taken_old]
    left_new = [at for at in new if at not in taken_new]
    for one, two in same_in_any_order([before[at] for at in left], [after[at] for at in left_new]):
        pairs.append((left[one], left_new[two]))
    return pairs


def _in_order(
    before: Sequence[str], after: Sequence[str], old: list[int], new: list[int]
) -> list[tuple[int, int]]:
    """Equal lines of two short stretches, greedily, without crossings."""
    places: defaultdict[str, deque[int]] = defaultdict(deque)
    for at in new:
        places[after[at]].append(at)
    pairs = []
    last = -1
    for at in old:
        found = places.get(before[at])
        while found and found[0] < last:
            found.popleft()
        if found:
            last = found.popleft()
            pairs.append((at, last))
    return pairs


def longest_increasing(numbers: Sequence[int]) -> list[int]:
    """The indices of a longest increasing run of distinct numbers (others may lie between)."""
    tails: list[int] = []
    tops: list[int] = []
    before = [-1] * len(numbers)
    for at, number in enumerate(numbers):
        place = bisect_left(tops, number)
        before[at] = tails[place - 1] if place else -1
        if place == len(tails):
            tails.append(at)
            tops.append(number)
        else:
            tails[place] = at
            tops[place] = number
    run = []
    at = tails[-1] if tails else -1
    while at >= 0:
        run.append(at)
        at = before[at]
    return run[::-1]
