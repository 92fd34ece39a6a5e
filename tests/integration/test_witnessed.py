"""Cosignatures on a real stream: asked for on a beat, and as many of them as a verifier wants."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapters.postgres.signed_marks import SignedMarks
from adapters.postgres.witness_book import Asked, WitnessBook, answers
from adapters.roles.sealer import SEAL_SUBJECT
from domain.tlog.names import STREAM_LOG
from projections.rows import Pool
from tests.logs import (
    BASE,
    Story,
    assert_truly_signed,
    names,
    seal,
    sealer,
    sealing,
    stored_notes,
    take_in,
)
from tests.rig import Rig
from tests.support import eventually
from tests.witnessing import NAMES, Party, cosigned_at, judged, sealed


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
    await take_in(work, connected)
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
    await take_in(work, connected)
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


async def test_a_slow_witness_delays_no_other_one_and_a_log_no_other_log(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    await Story(connected).tell(30)
    answering = asyncio.Event()
    party.before[NAMES[0]] = answering.wait
    work = sealing(connected, pool)
    await work.open()
    await take_in(work, connected)
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
