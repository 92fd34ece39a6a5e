"""What witnesses have said is kept: of the checkpoint they were asked about, and no other log's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import CHECKPOINTS, Overtaken
from adapters.roles.sealing import Sealing
from adapters.tlog.handing import hand_over
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.judging import WITNESS_LAG_SECONDS, judge_notes
from domain.tlog.names import STREAM_LOG, cosigned_name, tenant_log
from domain.tlog.note import Note, parse_note, verified
from projections.rows import Pool
from tests.logs import (
    BASE,
    KEY,
    Story,
    assert_truly_signed,
    names,
    seal,
    sealing,
    stored_notes,
    take_in,
)
from tests.rig import Rig
from tests.witnessing import NAMES, Party, cosigned_at, cosigned_sizes, judged, judged_at, sealed


async def signed_once(connected: Rig, pool: Pool) -> tuple[Sealing, str, Note]:
    """A sealer at its first checkpoint, which no witness was asked about; the origin of the
    stream's log, and that note."""
    await Story(connected).tell(10)
    work = sealing(connected, pool)
    await work.open()
    await take_in(work, connected)
    await work.seal()
    origin = (await names(connected)).origin(STREAM_LOG)
    stored = await connected.checkpoints.last(origin)
    assert stored is not None
    return work, origin, parse_note(stored.raw)


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
        await take_in(work, connected)
        await work.seal()

    await take_in(work, connected)
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
    work, origin, _ = await signed_once(connected, pool)

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
    work, origin, note = await signed_once(connected, pool)
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


@pytest.mark.parametrize("stored", ["more than a note holds", "a former key's that is none"])
async def test_what_others_store_beside_a_checkpoint_keeps_it_from_nobody(
    connected: Rig, pool: Pool, tmp_path: Path, stored: str
) -> None:
    party = Party(tmp_path)
    work, origin, note = await signed_once(connected, pool)
    former = SigningKey(bytes(range(3, 35)))
    if stored == "more than a note holds":
        more = [former.sign_text(f"another.example/{number}", note.text) for number in range(64)]
    else:
        more = [former.sign_text(origin, "another text\n")]
    under = cosigned_name(origin)
    await connected.checkpoints.append(under, str(Note(note.text, tuple(more))).encode(), after=0)
    for found in (
        await connected.checkpoints.newest(origin),
        await connected.checkpoints.of_size(origin, work.position),
    ):
        assert found is not None
        keys = [KEY.verifier(origin), former.verifier(origin)]
        assert verified(parse_note(found.raw), keys, check_ed25519) == (KEY.verifier(origin),)
    # Witnesses are asked all the same.
    await work.renew()
    await work.ask(await party.cosign(connected, pool))
    found = await connected.checkpoints.newest(origin)
    assert found is not None
    assert set(NAMES) <= {one.name for one in parse_note(found.raw).signatures}
