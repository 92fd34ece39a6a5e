"""Asking witnesses to cosign. One that is away, slow, or refuses, holds up neither sealing nor the
others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct

from adapters.crypto.signing import check_ed25519
from adapters.postgres.witness_book import Asked, Outcome
from adapters.tlog.proofs import Prover, Sealed
from adapters.witness.posting import Answered, Poster
from domain.errors import InvalidInput, NotVerified
from domain.tlog.checkpoint import Checkpoint, parse_number
from domain.tlog.note import COSIGNATURE, Note, Signature, VerifierKey, parse_signatures, verified
from domain.tlog.request import WitnessRequest

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 30.0
# What some have said is passed on when others take longer than this.
EARLY_SECONDS: Final = 1.0
_TRIES: Final = 3
_TOLD_MAX: Final = 300


class WitnessAddress(Struct, frozen=True):
    """Where a witness is, and the key that it cosigns with."""

    url: str
    key: VerifierKey


class Cosigned(Struct, frozen=True):
    """The note with the cosignatures that could be had. `complete`: none is lacking."""

    note: Note
    complete: bool


Report = Callable[[Asked], Awaitable[None]]
Post = Callable[[str, bytes], Awaitable[Answered]]
Early = Callable[[Note], Awaitable[None]]


def parse_witnesses(text: str) -> tuple[WitnessAddress, ...]:
    """Witnesses from `URL KEY` pairs, separated by commas. Raises `InvalidInput`."""
    found: list[WitnessAddress] = []
    for pair in filter(None, (one.strip() for one in text.split(","))):
        url, _, vkey = pair.partition(" ")
        try:
            key = VerifierKey.parse(vkey.strip())
        except NotVerified as error:
            raise InvalidInput("CONFIGTRAIL_WITNESSES", error.reason) from error
        if not url.startswith(("http://", "https://")) or key.kind != COSIGNATURE:
            raise InvalidInput(
                "CONFIGTRAIL_WITNESSES", "must be 'URL KEY, …' with keys of witnesses (type 4)"
            )
        found.append(WitnessAddress(url.rstrip("/"), key))
    return tuple(found)


class Witnesses:
    """All witnesses of a deployment. Give `cosign` to the sealer."""

    def __init__(
        self,
        addresses: Sequence[WitnessAddress],
        *,
        report: Report | None = None,
        post: Post | None = None,
    ) -> None:
        self._addresses = tuple(addresses)
        self._report = report
        self._post = post or Poster()
        self._sizes: dict[tuple[str, str], int] = {}
        # Who is away, is so for all logs; who refuses one may cosign the others.
        self._away: dict[str, float] = {}
        self._refused: dict[tuple[str, str], float] = {}
        # Each is asked about one log at a time, in the order in which that was wanted.
        self._turns = {one.url: asyncio.Lock() for one in self._addresses}

    def lacks_one(self, note: Note) -> bool:
        """Whether one of them has not cosigned it."""
        there = {(one.name, one.key_id) for one in note.signatures}
        return any((one.key.name, one.key.key_id) not in there for one in self._addresses)

    async def cosign(
        self,
        prover: Prover,
        name: str,
        checkpoint: Checkpoint,
        note: Note,
        early: Early | None = None,
    ) -> Cosigned:
        """The note with the cosignatures that it lacks, as far as they could be had. All are asked
        at the same time; `early` gets what some have said, where others are slow."""
        there = {(one.name, one.key_id) for one in note.signatures}
        sealed = Sealed(checkpoint, note)
        turns = [
            asyncio.create_task(self._turn(one, prover, name, sealed), name=one.key.name)
            for one in self._addresses
            if (one.key.name, one.key.key_id) not in there
        ]
        waiting = set(turns)
        complete = True
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=EARLY_SECONDS)
                answers = [one.result() for one in turns if one in done]
                complete = complete and None not in answers
                lines = [line for answer in answers for line in answer or ()]
                note = Note(note.text, (*note.signatures, *lines))
                if waiting and lines and early is not None:
                    await early(note)
        finally:
            for one in turns:
                one.cancel()
            await asyncio.gather(*turns, return_exceptions=True)
        return Cosigned(note, complete)

    async def _turn(
        self, address: WitnessAddress, prover: Prover, name: str, sealed: Sealed
    ) -> list[Signature] | None:
        """What it says of a checkpoint, when its turn comes; None when that could not be had."""
        clock = asyncio.get_running_loop().time
        key, origin = address.key, sealed.checkpoint.origin
        slot = (address.url, origin)
        outcome: Outcome = "cosigned"
        told = ""
        lines: list[Signature] | None = None
        async with self._turns[address.url]:
            if clock() < max(self._away.get(address.url, 0.0), self._refused.get(slot, 0.0)):
                return None
            try:
                lines = await self._asked(address, prover, name, sealed)
            except OSError as error:
                outcome, told = "away", str(error)
                self._away[address.url] = clock() + PAUSE_SECONDS
            except NotVerified as error:
                outcome, told = "refused", error.reason
                self._refused[slot] = clock() + PAUSE_SECONDS
        if told:
            log.warning(
                "the witness %s did not cosign %s at size %d: %s",
                key.name,
                origin,
                sealed.checkpoint.size,
                told,
            )
        if self._report is not None:
            await self._report(Asked(key.name, origin, outcome, told[:_TOLD_MAX]))
        return lines

    async def _asked(
        self, address: WitnessAddress, prover: Prover, name: str, sealed: Sealed
    ) -> list[Signature]:
        origin = sealed.checkpoint.origin
        slot = (address.url, origin)
        for _ in range(_TRIES):
            old = self._sizes.get(slot, 0)
            hashes: tuple[bytes, ...] = ()
            if old:
                hashes = (await prover.consistency(name, old, sealed)).hashes
            request = WitnessRequest(old, hashes, _bare(sealed))
            answer = await self._post(f"{address.url}/add-checkpoint", str(request).encode())
            if answer.status == 200:
                self._sizes[slot] = sealed.checkpoint.size
                return _checked(address.key, sealed.note, answer.body)
            # 409 with a size: it knows the log up to there. With anything else it refuses, such as
            # that another root was cosigned.
            known = _known_size(answer) if answer.status == 409 else None
            if known is None:
                reason = answer.body.decode(errors="replace").strip()[:200]
                raise NotVerified("the checkpoint", f"it answers {answer.status}: {reason!r}")
            if known > sealed.checkpoint.size:
                raise NotVerified("the checkpoint", f"it has cosigned size {known} already")
            self._sizes[slot] = known
        raise NotVerified("the checkpoint", f"it answers 409 {_TRIES} times over")


def _bare(sealed: Sealed) -> Note:
    """The note without what other witnesses say."""
    own = tuple(one for one in sealed.note.signatures if one.name == sealed.checkpoint.origin)
    return Note(sealed.note.text, own)


def _known_size(answer: Answered) -> int | None:
    text = answer.body.decode("ascii", errors="replace").removesuffix("\n")
    try:
        return parse_number(text, "the witness's answer")
    except NotVerified:
        return None


def _checked(key: VerifierKey, note: Note, body: bytes) -> list[Signature]:
    """The lines of the witness's key; those of other keys are not ours to pass on."""
    lines = parse_signatures(body)
    own = [one for one in lines if (one.name, one.key_id) == (key.name, key.key_id)]
    verified(Note(note.text, tuple(own)), [key], check_ed25519)
    return own
