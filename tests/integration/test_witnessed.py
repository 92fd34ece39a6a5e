"""Cosignatures on a real stream: asked for on a beat, and as many of them as a verifier wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import CHECKPOINTS, Overtaken
from adapters.postgres.signed_marks import SignedMarks
from adapters.postgres.tiles import TileStore
from adapters.postgres.witness_book import Asked, WitnessBook, answers
from adapters.roles.cosigning import Cosign
from adapters.roles.sealer import SEAL_SUBJECT
from adapters.roles.sealing import Sealing
from adapters.tlog.handing import hand_over
from adapters.tlog.proofs import Prover
from adapters.witness.client import WitnessAddress, Witnesses
from adapters.witness.posting import Answered
from adapters.witness.state import WitnessState
from adapters.witness.witness import Witness
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.findings import Finding
from domain.tlog.judging import WITNESS_LAG_SECONDS, Judged, judge_notes
from domain.tlog.names import STREAM_LOG, cosigned_name, tenant_log
from domain.tlog.note import COSIGNATURE, Note, VerifierKey, cosignature_time, parse_note, verified
from projections.rows import Pool
from tests.logs import (
    BASE,
    KEY,
    Story,
    assert_truly_signed,
    names,
    seal,
    sealer,
    sealing,
    stored_notes,
)
from tests.rig import Rig
from tests.support import eventually

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


async def test_some_of_the_witnesses_suffice_when_the_verifier_says_so(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    party.away = {NAMES[2]}
    await Story(connected).tell(30)
    await seal(connected, pool, cosign=await party.cosign(connected, pool))
    assert await judged(connected, party.verifiers[:2]) == ()
    assert await judged(connected, party.verifiers, 2) == ()
    for wanted in (None, 3):
        found = await judged(connected, party.verifiers, wanted)
        assert {one.kind for one in found} == {"unwitnessed"}
        assert all(NAMES[2] in one.detail and NAMES[0] not in one.detail for one in found)
    # One witness that is named twice is one.
    twice = [party.verifiers[0], party.verifiers[0], party.verifiers[2]]
    assert {one.kind for one in await judged(connected, twice, 2)} == {"unwitnessed"}


async def test_witnesses_are_asked_anew_about_a_log_in_which_nothing_happens(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    await Story(connected).tell(30)
    await seal(connected, pool, cosign=await party.cosign(connected, pool))
    first = int(party.now)
    assert await cosigned_at(connected) == {first}
    party.now += 86_400
    work = sealing(connected, pool)
    await work.open()
    cosign = await party.cosign(connected, pool)
    count = len(await stored_notes(connected))
    assert await sealed(work, cosign) == 0
    assert len(await stored_notes(connected)) == count
    await work.renew()
    assert await sealed(work, cosign) == 0
    assert await cosigned_at(connected) == {first + 86_400}
    logs = len(await connected.checkpoints.origins())
    assert len(await stored_notes(connected)) == count + logs
    assert await judged(connected, party.verifiers) == ()
    # Of one that is away then, what it said before stays.
    party.now, party.away = party.now + 86_400, {NAMES[1]}
    await work.renew()
    await sealed(work, cosign)
    assert await cosigned_at(connected) == {first + 86_400, first + 2 * 86_400}
    assert await judged(connected, party.verifiers) == ()
    story = Story(connected, seed=2, devices=(("acme", "later"),))
    await story.tell(5)
    async for batch in connected.raw.read(work.position):
        await work.apply(batch)
    assert await sealed(work, cosign) == 2
    assert await judged(connected, party.verifiers, 2) == ()


async def test_who_refuses_one_log_is_asked_about_the_others(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    """A witness of the stream's log alone: it knows none of the tenants' logs."""
    party = Party(tmp_path)
    party.refused = {"/tenant/"}
    await Story(connected).tell(30)
    await seal(connected, pool, cosign=await party.cosign(connected, pool))
    stream = (await names(connected)).origin(STREAM_LOG)
    assert {one.outcome for one in party.told if one.origin == stream} == {"cosigned"}
    others = [one for one in party.told if one.origin != stream]
    assert {one.outcome for one in others} == {"refused"}
    assert all("not known here" in one.told for one in others)
    assert await cosigned_at(connected) == {int(party.now)}


async def test_one_that_was_away_is_asked_again_though_others_have_cosigned(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    party.away = {NAMES[1]}
    await Story(connected).tell(30)
    work = sealing(connected, pool)
    await work.open()
    async for batch in connected.raw.read(work.position):
        await work.apply(batch)
    logs = await sealed(work, await party.cosign(connected, pool))
    assert work.unwitnessed == logs
    assert {one.outcome for one in party.told if one.witness == NAMES[1]} == {"away"}
    before = len(await stored_notes(connected))
    party.away, party.told = set(), []
    # Its pause is over: as after a start.
    assert await sealed(work, await party.cosign(connected, pool)) == 0
    assert {(one.witness, one.outcome) for one in party.told} == {(NAMES[1], "cosigned")}
    assert len(await stored_notes(connected)) == before + logs
    assert work.unwitnessed == 0
    assert await judged(connected, party.verifiers) == ()


async def test_a_witness_that_does_not_answer_holds_up_no_sealing(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    party.answering.clear()
    story = Story(connected)
    await story.tell(20)
    stream = (await names(connected)).origin(STREAM_LOG)

    async def witnessed() -> bool:
        return await judged(connected, party.verifiers) == ()

    async with sealer(connected, pool, witnesses=party.witnesses()):
        await asyncio.wait_for(party.asked.wait(), 30)
        await story.tell(20)
        await connected.nc.request(SEAL_SUBJECT, b"", timeout=10)
        signed = await assert_truly_signed(connected)
        assert signed[stream][-1].size == story.told
        assert await cosigned_at(connected) == set()
        party.answering.set()
        await eventually(witnessed, within=20)
    await assert_truly_signed(connected)


async def test_what_is_said_of_a_former_checkpoint_is_kept(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    """All witnesses are slower than sealing: the log has grown whenever one of them answers."""
    party = Party(tmp_path)
    party.now = float(int(time.time()))
    story = Story(connected)
    await story.tell(30)
    work = sealing(connected, pool)
    await work.open()
    cosign = await party.cosign(connected, pool)
    signed: list[int] = []

    async def grow() -> None:
        await story.tell(3)
        async for batch in connected.raw.read(work.position):
            await work.apply(batch)
        await work.seal()

    async for batch in connected.raw.read(work.position):
        await work.apply(batch)
    await work.seal()
    for _ in range(3):
        signed.append(work.position)
        party.before[NAMES[2]] = grow
        await work.ask(cosign)
        assert work.position > signed[-1]
    assert await cosigned_sizes(connected) == signed
    await assert_truly_signed(connected)
    # Sizes do not go back for who reads the last one; and a verifier sees who was asked just now.
    last = await connected.checkpoints.newest((await names(connected)).origin(STREAM_LOG))
    assert last is not None
    assert parse_checkpoint(parse_note(last.raw).text).size == work.position
    for late, kinds in ((WITNESS_LAG_SECONDS, set()), (WITNESS_LAG_SECONDS + 1, {"unwitnessed"})):
        found = await judged_at(connected, party.verifiers, now=party.now + late)
        assert {one.kind for one in found.findings} == kinds
        assert (found.behind > 0) == (not kinds)
    # What is cosigned anew for ever, while the log goes on without the witnesses, does not do.
    long_ago = await judged_at(
        connected, party.verifiers, now=party.now, stored_before=2 * WITNESS_LAG_SECONDS
    )
    assert {one.kind for one in long_ago.findings} == {"unwitnessed"}
    assert long_ago.behind == 0
    assert {one.kind for one in await judged(connected, party.verifiers)} == {"unwitnessed"}
    del party.before[NAMES[2]]
    await work.ask(cosign)
    assert work.unwitnessed == 0
    assert await judged(connected, party.verifiers) == ()


async def test_a_slow_witness_delays_no_other_one_and_a_log_no_other_log(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    await Story(connected).tell(30)
    answering = asyncio.Event()
    party.before[NAMES[0]] = answering.wait
    work = sealing(connected, pool)
    await work.open()
    async for batch in connected.raw.read(work.position):
        await work.apply(batch)
    await work.seal()
    asking = asyncio.create_task(work.ask(await party.cosign(connected, pool)))

    async def all_logs_by_others() -> bool:
        return await judged(connected, party.verifiers[1:]) == ()

    try:
        await eventually(all_logs_by_others, within=20)
        assert not asking.done()
        assert not work.unasked
    finally:
        answering.set()
        await asking
    assert await judged(connected, party.verifiers) == ()
    assert work.unwitnessed == 0


async def test_what_was_cosigned_and_is_no_checkpoint_of_the_log_is_told(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    await Story(connected).tell(30)
    await seal(connected, pool, cosign=await party.cosign(connected, pool))
    under = cosigned_name((await names(connected)).origin(STREAM_LOG))
    last = await connected.checkpoints.last(under)
    assert last is not None
    other = KEY.note(Checkpoint(under.removeprefix("cosigned+"), 7, bytes(32)))
    at = await connected.checkpoints.append(under, str(other).encode(), after=last.sequence)
    (found,) = await judged(connected, party.verifiers)
    assert (found.kind, found.position) == ("altered", at)
    # Nor does anything that stands there keep witnesses from being asked.
    await connected.checkpoints.append(under, b"nothing", after=at)
    work = sealing(connected, pool)
    await work.open()
    await work.renew()
    await sealed(work, await party.cosign(connected, pool))
    assert work.unwitnessed == 0
    assert {one.kind for one in await judged(connected, party.verifiers)} == {"altered"}


async def test_a_tenant_may_be_called_as_what_is_cosigned(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    party = Party(tmp_path, old)
    await Story(connected, devices=(("cosigned", "r1"),)).tell(10)
    await seal(connected, pool, old, cosign=await party.cosign(connected, pool))
    origin = (await names(connected)).origin(tenant_log("cosigned"))
    assert origin in await connected.checkpoints.origins()
    await hand_over(connected.checkpoints, BASE, path)
    for name in (origin, cosigned_name(origin)):
        stored = await connected.checkpoints.last(name)
        assert stored is not None
        for key in (old, SigningKey.from_file(path)):
            verified(parse_note(stored.raw), [key.verifier(origin)], check_ed25519)
    for key in (old, SigningKey.from_file(path)):
        notes = [(one.sequence, one.origin, one.raw) for one in await stored_notes(connected)]
        known = await names(connected)
        found = judge_notes(notes, known, [key.public], check_ed25519, witnesses=party.verifiers)
        assert (found.findings, found.others) == ((), 0)


async def test_nothing_is_cosigned_that_the_log_no_longer_has(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    """Checkpoints are lost while witnesses are asked; what stands there is of a larger past."""
    party = Party(tmp_path)
    await Story(connected).tell(10)
    work = sealing(connected, pool)
    await work.open()
    async for batch in connected.raw.read(work.position):
        await work.apply(batch)
    await work.seal()
    origin = (await names(connected)).origin(STREAM_LOG)

    async def lose() -> None:
        party.before.clear()
        await connected.js.delete_stream(CHECKPOINTS)
        await connected.checkpoints.ensure()

    party.before[NAMES[0]] = lose
    cosign = await party.cosign(connected, pool)
    with pytest.raises(Overtaken):
        await work.ask(cosign)
    assert await stored_notes(connected) == []
    larger = KEY.note(Checkpoint(origin, 10_000, bytes(32)))
    await connected.checkpoints.append(cosigned_name(origin), str(larger).encode(), after=0)
    await seal(connected, pool, cosign=await party.cosign(connected, pool))
    assert await cosigned_at(connected) == {int(party.now)}


@pytest.mark.parametrize("others", [1, 62])
async def test_what_was_said_to_another_sealer_meanwhile_is_kept(
    connected: Rig, pool: Pool, tmp_path: Path, others: int
) -> None:
    """As far as it makes up a note: anybody may have stored more than one can hold."""
    party = Party(tmp_path)
    await Story(connected).tell(10)
    work = sealing(connected, pool)
    await work.open()
    async for batch in connected.raw.read(work.position):
        await work.apply(batch)
    await work.seal()
    origin = (await names(connected)).origin(STREAM_LOG)
    stored = await connected.checkpoints.last(origin)
    assert stored is not None
    note = parse_note(stored.raw)
    witness = SigningKey(bytes(range(2, 34)))
    said = [f"another.example/{number}" for number in range(others)]
    more = (witness.sign_text(name, note.text) for name in said)
    other = str(Note(note.text, (*note.signatures, *more)))

    async def publish() -> None:
        party.before.clear()
        await connected.checkpoints.append(cosigned_name(origin), other.encode(), after=0)

    party.before[NAMES[0]] = publish
    await work.ask(await party.cosign(connected, pool))
    last = await connected.checkpoints.last(cosigned_name(origin))
    assert last is not None
    signers = {one.name for one in parse_note(last.raw).signatures}
    assert signers == {origin, *NAMES, *(said if others == 1 else [])}


async def test_the_streams_log_is_asked_about_first(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    await Story(connected).tell(30)
    await seal(connected, pool, cosign=await party.cosign(connected, pool))
    stream = (await names(connected)).origin(STREAM_LOG)
    for name in NAMES:
        assert next(one.origin for one in party.told if one.witness == name) == stream


async def test_what_lacks_a_witness_is_known_again_after_a_start(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    party.away = {NAMES[1]}
    await Story(connected).tell(30)
    await seal(connected, pool, cosign=await party.cosign(connected, pool))
    logs = len(await connected.checkpoints.origins())
    work = sealing(connected, pool)
    await work.open()
    await work.renew(party.witnesses().lacks_one)
    assert work.unwitnessed == logs
    party.away, party.told = set(), []
    assert await sealed(work, await party.cosign(connected, pool)) == 0
    assert {(one.witness, one.outcome) for one in party.told} == {(NAMES[1], "cosigned")}
    assert (work.unwitnessed, await judged(connected, party.verifiers)) == (0, ())
    await work.renew(party.witnesses().lacks_one)
    assert work.unwitnessed == 0


async def test_the_book_tells_since_when_a_witness_answers_so(pool: Pool) -> None:
    assert await answers(pool, BASE) == []
    await SignedMarks(pool).ensure()
    book, origin = WitnessBook(pool), f"{BASE}/tenant/acme"
    for outcome, told in (("cosigned", ""), ("away", "no answer"), ("away", "refused")):
        asked = Asked(NAMES[0], origin, outcome, told)  # type: ignore[arg-type]
        await book.write(asked)
        await book.write(asked)
        (found,) = await answers(pool, BASE)
        assert found.asked == asked
        if told == "no answer":
            since = found.since
    assert found.since == since
    # Another program sealed in between, and the witness answered it.
    await WitnessBook(pool).write(Asked(NAMES[0], origin, "cosigned"))
    await book.write(found.asked)
    (after,) = await answers(pool, BASE)
    assert after.asked == found.asked
    assert await answers(pool, BASE, f"{BASE}/tenant/other") == []
    assert await answers(pool, "configtrail.example/another") == []
