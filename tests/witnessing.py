"""Witnesses of the tests, and what a verifier makes of their cosignatures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.postgres.tiles import TileStore
from adapters.postgres.witness_book import Asked
from adapters.roles.cosigning import Cosign
from adapters.roles.sealing import Sealing
from adapters.tlog.proofs import Prover
from adapters.witness.client import WitnessAddress, Witnesses
from adapters.witness.posting import Answered
from adapters.witness.state import WitnessState
from adapters.witness.witness import Witness
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.findings import Finding
from domain.tlog.judging import Judged, judge_notes
from domain.tlog.names import STREAM_LOG, cosigned_name
from domain.tlog.note import COSIGNATURE, VerifierKey, cosignature_time, parse_note
from projections.rows import Pool
from tests.logs import (
    BASE,
    KEY,
    names,
    stored_notes,
)
from tests.rig import Rig

NAMES = ("witness.example/a", "witness.example/b", "witness.example/c")


class Party:
    """Witnesses that are reached without a network. Those in `away` don't answer."""

    def __init__(self, folder: Path, log_key: SigningKey = KEY) -> None:
        self.now = 1_790_000_000.0
        self.away: set[str] = set()
        self.refused: set[str] = set()
        self.told: list[Asked] = []
        self.asked, self.answering = asyncio.Event(), asyncio.Event()
        self.answering.set()
        # What is to come before a witness answers, by its name.
        self.before: dict[str, Callable[[], Awaitable[object]]] = {}
        keys = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
        self.verifiers = [
            key.verifier(name, COSIGNATURE) for name, key in zip(NAMES, keys, strict=True)
        ]
        self._witnesses = {
            name: Witness(
                name,
                key,
                WitnessState(folder / f"{number}.db"),
                deployments=[log_key.verifier(BASE)],
                clock=lambda: self.now,
            )
            for number, (name, key) in enumerate(zip(NAMES, keys, strict=True))
        }

    def witnesses(self) -> Witnesses:
        """As a program that starts now knows them."""
        addresses = [WitnessAddress(f"http://{one.name}", one) for one in self.verifiers]
        return Witnesses(addresses, post=self._post, report=self._report)

    async def cosign(self, rig: Rig, pool: Pool) -> Cosign:
        """What a program that starts now gives to its sealer."""
        prover = Prover(TileStore(pool), rig.checkpoints, await names(rig))
        return partial(self.witnesses().cosign, prover)

    async def _report(self, asked: Asked) -> None:
        await asyncio.sleep(0)
        self.told.append(asked)

    async def _post(self, url: str, body: bytes) -> Answered:
        await asyncio.sleep(0)
        name = url.removeprefix("http://").removesuffix("/add-checkpoint")
        self.asked.set()
        await self.answering.wait()
        if name in self.before:
            await self.before[name]()
        if name in self.away:
            raise OSError("it is away")
        if any(log.encode() in body for log in self.refused):
            return Answered(404, b"this log is not known here\n")
        answer = self._witnesses[name].add_checkpoint(body)
        return Answered(answer.status, answer.body.encode())


async def sealed(work: Sealing, cosign: Cosign) -> int:
    made = await work.seal()
    await work.ask(cosign)
    return made


async def judged(
    rig: Rig, witnesses: list[VerifierKey], quorum: int | None = None
) -> tuple[Finding, ...]:
    return (await judged_at(rig, witnesses, quorum)).findings


async def judged_at(
    rig: Rig,
    witnesses: list[VerifierKey],
    quorum: int | None = None,
    now: float | None = None,
    *,
    stored_before: float = 0,
) -> Judged:
    """`stored_before`: so many seconds before they were."""
    found = await stored_notes(rig)
    notes = [(one.sequence, one.origin, one.raw) for one in found]
    return judge_notes(
        notes,
        await names(rig),
        [KEY.public],
        check_ed25519,
        witnesses=witnesses,
        quorum=quorum,
        now=now,
        stored={one.sequence: one.stored_ns / 1e9 - stored_before for one in found},
    )


async def cosigned_sizes(rig: Rig, log: str = STREAM_LOG) -> list[int]:
    """The sizes of a log that all witnesses have cosigned, in the order of their notes."""
    under = cosigned_name((await names(rig)).origin(log))
    notes = [parse_note(one.raw) for one in await stored_notes(rig) if one.origin == under]
    whole = [one for one in notes if {it.name for it in one.signatures} >= set(NAMES)]
    return [parse_checkpoint(one.text).size for one in whole]


async def cosigned_at(rig: Rig) -> set[int]:
    """When the last checkpoint of the stream's log was cosigned, by whomever."""
    last = await rig.checkpoints.newest((await names(rig)).origin(STREAM_LOG))
    assert last is not None
    times = {cosignature_time(one) for one in parse_note(last.raw).signatures if one.name in NAMES}
    return {one for one in times if one is not None}
