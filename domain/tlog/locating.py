"""Which event of a suspect stretch is the bad one, and what happened to it. Pure.

Between two checkpoints only a root is signed. Which event is the bad one comes from the leaf hashes
in the tiles, once they are found to have the signed root; without them the stretch is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from domain.tlog.findings import Finding, Suspect
from domain.tlog.leaf import RawEvent, hash_of

# How far around a bad event we look for where it came from, or where what belongs there went.
WINDOW: Final = 4096


def locate(
    stream: str, suspect: Suspect, events: Sequence[RawEvent], signed: Sequence[bytes] | None
) -> list[Finding]:
    """What is wrong in a suspect stretch. `events` are those of it and up to `WINDOW` more;
    `signed` the leaf hashes that were signed, from position 1 on, None when they can't be had."""
    first, last, claim = suspect.first, suspect.last, suspect.claim
    if signed is not None:
        for at, event in enumerate(events):
            index = event.position - 1
            if event.position > min(last, claim.size):
                break
            if hash_of(stream, event) != signed[index]:
                return [_classified(stream, events, at, signed)]
    if last < claim.size:
        return [
            Finding(
                "event",
                "truncated",
                last + 1,
                f"a checkpoint was signed over {claim.size} events, and {last} are there",
            )
        ]
    return [
        Finding(
            "event",
            "altered",
            first,
            f"one of the events {first} to {last} at least; the tiles that would tell which are "
            "not those that were signed",
        )
    ]


def _classified(
    stream: str, events: Sequence[RawEvent], at: int, signed: Sequence[bytes]
) -> Finding:
    """What happened at the first event that is not what was signed: it is told by whether what was
    signed here stands later, and whether what stands here was signed for later."""
    position = events[at].position
    now = _stands_at(stream, events, at, signed[position - 1])
    once = _signed_for(stream, events, at, signed)
    if now is not None and once is not None:
        detail = f"what was signed here stands at {now}, and what stands here was {once}"
        return Finding("event", "reordered", position, detail)
    if now is not None:
        return Finding("event", "inserted", position, f"what was signed here stands at {now}")
    if once is not None:
        return Finding("event", "missing", position, f"what was signed for {once} stands here")
    return Finding("event", "altered", position, "it is not what was signed")


def _stands_at(stream: str, events: Sequence[RawEvent], at: int, wanted: bytes) -> int | None:
    here = events[at]
    for other in events[at + 1 : at + WINDOW]:
        moved = replace(other, position=here.position)
        if wanted in (
            hash_of(stream, moved),
            hash_of(stream, replace(moved, stored_ns=here.stored_ns)),
        ):
            return other.position
    return None


def _signed_for(
    stream: str, events: Sequence[RawEvent], at: int, signed: Sequence[bytes]
) -> int | None:
    here = events[at]
    end = min(len(signed), here.position + WINDOW)
    for position in range(here.position + 1, end + 1):
        if hash_of(stream, replace(here, position=position)) == signed[position - 1]:
            return position
    for other in events[at + 1 : at + WINDOW]:
        moved = replace(here, position=other.position, stored_ns=other.stored_ns)
        if other.position <= len(signed) and hash_of(stream, moved) == signed[other.position - 1]:
            return other.position
    return None
