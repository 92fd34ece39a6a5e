"""Which checkpoints a bundle is about: the last ones; or, where the logs grow faster than witnesses
answer, those that more of them have cosigned, a short while ago."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from itertools import product
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from adapters.crypto.signing import check_ed25519
from adapters.jetstream.checkpoints import StoredNote, read_notes
from adapters.tlog.proofs import Sealed
from adapters.witness.client import parse_witnesses
from domain.errors import NotFound, NotVerified
from domain.tlog.checkpoint import checkpoint_in, parse_checkpoint
from domain.tlog.judging import is_just_now
from domain.tlog.names import STREAM_LOG, LogNames, cosigned_name
from domain.tlog.note import Signature, VerifierKey, cosignature_time, parse_note, verified

if TYPE_CHECKING:
    from adapters.composition import System

# So many of a log's last cosigned notes are looked at.
_MOST: Final = 256
# A round of the sealer takes no longer, unless it was broken off.
ROUND_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1


class Candidate(Struct, frozen=True):
    """A checkpoint of a log, up to which position of the stream the log was read for it, and how
    many witnesses have cosigned it."""

    sealed: Sealed
    position: int
    witnesses: int


def choose(own: Iterable[Candidate], stream: Iterable[Candidate]) -> tuple[Sealed, Sealed] | None:
    """One of a tenant's log and one of the stream's that covers all of it: first such that as many
    witnesses as can be have cosigned both, then with as many events. None when there are no two."""
    pairs = [
        (min(one.witnesses, two.witnesses), one.sealed, two.sealed)
        for one, two in product(own, stream)
        if one.position <= two.sealed.checkpoint.size
    ]
    best = max(
        pairs, key=lambda it: (it[0], it[1].checkpoint.size, it[2].checkpoint.size), default=None
    )
    return best and best[1:]


async def chosen(
    system: System,
    names: LogNames,
    log: str,
    keys: Sequence[VerifierKey],
    kept: Sequence[bytes],
    now: float,
) -> tuple[Sealed, Sealed]:
    """The checkpoints that a bundle of a tenant's log is to be about: its own, and the stream's.
    None that is older than those that its reader has `kept`.

    Raises `NotFound` when one of them has none, `NotVerified` for a kept one that is none."""
    least = max((checkpoint_in(one).size for one in kept), default=0)
    known = parse_witnesses(system.settings.witnesses)
    witnesses = {(one.key.name, one.key.key_id) for one in known}
    origins = [names.origin(one) for one in (log, STREAM_LOG)]
    last = await _last_of_a_round(system, origins)
    former = await _former(system, origins, now) if witnesses else {}
    found: list[list[Candidate]] = []
    for origin, newest in zip(origins, last, strict=True):
        one = _sealed(newest)
        there = {(it.name, it.key_id) for it in one.note.signatures}
        candidates = [Candidate(one, newest.position, len(there & witnesses))]
        for stored in former.get(origin, ()):
            cosigned = _cosigned(
                stored, [key for key in keys if key.name == origin], witnesses, now
            )
            if cosigned is not None:
                candidates.append(cosigned)
        found.append(candidates)
    found[0] = [one for one in found[0] if one.sealed.checkpoint.size >= least] or found[0][:1]
    return choose(*found) or (found[0][0].sealed, found[1][0].sealed)


async def _last_of_a_round(system: System, origins: Sequence[str]) -> list[StoredNote]:
    """The last checkpoint of a tenant's log, and one of the stream's that covers it: the sealer
    signs the stream's last in each of its rounds, which is waited for a while."""
    clock = asyncio.get_running_loop().time
    until = clock() + ROUND_SECONDS
    while True:
        own, stream = [await _newest(system, origin) for origin in origins]
        if own.position <= checkpoint_in(stream.raw).size or clock() >= until:
            return [own, stream]
        await asyncio.sleep(_LOOK_SECONDS)


async def _newest(system: System, origin: str) -> StoredNote:
    found = await system.log.checkpoints.newest(origin)
    if found is None:
        raise NotFound("checkpoint of", origin)
    return found


async def _former(
    system: System, origins: Sequence[str], now: float
) -> dict[str, list[StoredNote]]:
    """What was cosigned of the checkpoints after which the log grew just now, and of the last
    ones. Those before may be cosigned anew for ever, and tell of nothing that came since."""
    found: dict[str, deque[StoredNote]] = {origin: deque(maxlen=_MOST) for origin in origins}
    by_name = {cosigned_name(origin): origin for origin in origins}
    last: dict[str, bytes] = {}
    recent: set[bytes] = set()
    async with aclosing(read_notes(system.log.notes)) as batches:
        async for batch in batches:
            for one in batch:
                if one.origin in by_name:
                    found[by_name[one.origin]].append(one)
                elif one.origin in found:
                    text = _text_of(one)
                    former = last.get(one.origin, text)
                    if former != text and is_just_now(one.stored_ns / 1e9, now):
                        recent.add(former)
                    last[one.origin] = text
    recent |= set(last.values())
    return {
        origin: [one for one in notes if _text_of(one) in recent] for origin, notes in found.items()
    }


def _text_of(stored: StoredNote) -> bytes:
    """What is signed, whoever did."""
    return stored.raw.partition(b"\n\n")[0]


def _cosigned(
    stored: StoredNote, keys: Sequence[VerifierKey], witnesses: set[tuple[str, bytes]], now: float
) -> Candidate | None:
    """What was cosigned, when that was just now, and with a key that the bundle's reader has."""
    try:
        sealed = _sealed(stored)
        verified(sealed.note, keys, check_ed25519)
    except NotVerified:
        return None
    there = {(one.name, one.key_id) for one in sealed.note.signatures if _is_recent(one, now)}
    count = len(there & witnesses)
    return Candidate(sealed, stored.position, count) if count else None


def _is_recent(one: Signature, now: float) -> bool:
    return is_just_now(cosignature_time(one), now)


def _sealed(stored: StoredNote) -> Sealed:
    note = parse_note(stored.raw)
    return Sealed(parse_checkpoint(note.text), note)
