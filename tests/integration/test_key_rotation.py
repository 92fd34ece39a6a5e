"""A log goes on under a new key: who trusts either can follow, and the old one counts no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import CHECKPOINTS, CheckpointStore, StoredNote
from adapters.postgres.signed_marks import SignedMarks
from adapters.roles.signed_before import KeyRetired
from adapters.tlog.handing import hand_over
from domain.errors import KeyUnavailable, LogBroken
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.findings import Finding
from domain.tlog.handover import handover_origin, handover_text
from domain.tlog.judging import judge_notes
from domain.tlog.names import STREAM_LOG, cosigned_name
from domain.tlog.note import Note, parse_note, verified
from projections.rows import Pool
from tests.logs import BASE, Story, names, seal, sealing, stored_notes, take_in
from tests.rig import Rig
from tests.witnessing import Party


async def led_to(rig: Rig, trusted: SigningKey) -> list[bytes]:
    """The keys that somebody who trusts this one is led to."""
    notes = [(one.sequence, one.origin, one.raw) for one in await stored_notes(rig)]
    return list(judge_notes(notes, await names(rig), [trusted.public], check_ed25519).led_to)


async def judged(rig: Rig, *trusted: SigningKey, more: list[StoredNote] | None = None) -> list[str]:
    """The kinds of what is wrong with the notes, for somebody who trusts these keys."""
    notes = [(one.sequence, one.origin, one.raw) for one in await stored_notes(rig)]
    notes += [(one.sequence, one.origin, one.raw) for one in more or []]
    publics = [one.public for one in trusted]
    found: tuple[Finding, ...] = judge_notes(
        notes, await names(rig), publics, check_ed25519
    ).findings
    return [one.kind for one in found]


async def test_the_log_goes_on_under_the_new_key(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    path = tmp_path / "log.key"
    keys = [SigningKey.generate_file(path)]
    story = Story(connected)
    for _ in range(2):
        await story.tell(30)
        await seal(connected, pool, keys[-1])
        retired = await hand_over(connected.checkpoints, BASE, path)
        assert SigningKey.from_file(retired).public == keys[-1].public
        keys.append(SigningKey.from_file(path))
        await assert_last_ones_are_signed_by(connected, keys[-2:])
        with pytest.raises(KeyRetired):
            await seal(connected, pool, keys[-2])
    await story.tell(30)
    assert await seal(connected, pool, keys[-1]) > 0
    for number, key in enumerate(keys):
        assert await judged(connected, key) == [], "whichever key somebody was given"
        # Keys that nobody gave them, and that count: they are told.
        assert await led_to(connected, key) == [one.public for one in keys[number + 1 :]]
    assert set(await judged(connected, SigningKey.generate())) == {"re-signed"}
    # Whoever kept an old key speaks for nobody now.
    sequence = len(await stored_notes(connected)) + 1
    origin = (await names(connected)).origin(STREAM_LOG)
    forged = keys[0].note(Checkpoint(origin, 10_000, bytes(32)))
    late = StoredNote(sequence, origin, str(forged).encode())
    assert await judged(connected, keys[0], more=[late]) == ["re-signed"]
    thief = SigningKey.generate()
    text = handover_text(BASE, keys[0].public, thief.public)
    note = Note(text, (keys[0].sign_text(BASE, text), thief.sign_text(BASE, text)))
    stolen = StoredNote(sequence, handover_origin(BASE), str(note).encode())
    assert await judged(connected, keys[0], more=[stolen]) == ["re-signed"]


async def assert_last_ones_are_signed_by(rig: Rig, keys: list[SigningKey]) -> None:
    """Every log's last checkpoint verifies for whoever has any one of the keys."""
    logs = [one for one in await rig.checkpoints.origins() if one != handover_origin(BASE)]
    assert len(logs) > 1
    for origin in logs:
        stored = await rig.checkpoints.last(origin)
        assert stored is not None
        for key in keys:
            verified(parse_note(stored.raw), [key.verifier(origin)], check_ed25519)


async def test_a_running_sealer_signs_nothing_with_a_key_that_was_handed_over(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    path = tmp_path / "log.key"
    key = SigningKey.generate_file(path)
    story = Story(connected)
    await story.tell(10)
    await seal(connected, pool, key)
    work = sealing(connected, pool, key)
    await work.open()
    await story.tell(10)
    await take_in(work, connected)
    await hand_over(connected.checkpoints, BASE, path)
    with pytest.raises(KeyRetired):
        await work.seal()


async def test_what_is_kept_counts_after_the_checkpoints_are_lost_with_the_hand_over(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    """Nothing was signed since the rotation, and nothing is left that leads to the new key."""
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    await Story(connected).tell(30)
    logs = await seal(connected, pool, old)
    await hand_over(connected.checkpoints, BASE, path)
    new = SigningKey.from_file(path)
    assert await seal(connected, pool, new) == 0
    kept = await SignedMarks(pool).all_of(BASE)
    for origin, mark in kept.items():
        for key in (old, new):
            verified(parse_note(mark.note.encode()), [key.verifier(origin)], check_ed25519)
    await connected.js.delete_stream(CHECKPOINTS)
    await connected.checkpoints.ensure()
    assert await seal(connected, pool, new) == logs
    assert await judged(connected, new) == []
    again = await SignedMarks(pool).all_of(BASE)
    assert {one.origin: one.size for one in again.values()} == {
        one.origin: one.size for one in kept.values()
    }


async def test_what_witnesses_said_before_a_rotation_counts_for_either_key(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    party = Party(tmp_path, old)
    await Story(connected).tell(30)
    await seal(connected, pool, old, cosign=await party.cosign(connected, pool))
    await hand_over(connected.checkpoints, BASE, path)
    keys = [old, SigningKey.from_file(path)]
    for origin in await connected.checkpoints.origins():
        if origin != handover_origin(BASE):
            stored = await connected.checkpoints.last(cosigned_name(origin))
            assert stored is not None
            for signer in (*(one.verifier(origin) for one in keys), *party.verifiers):
                verified(parse_note(stored.raw), [signer], check_ed25519)
    for key in keys:
        assert await judged(connected, key) == []


class Beside(CheckpointStore):
    """Before the first note under each of some names, somebody else's comes under it."""

    def __init__(self, js: JetStreamContext, first: dict[str, bytes]) -> None:
        super().__init__(js)
        self.first = first

    async def append(self, origin: str, raw: bytes, *, after: int, position: int = 0) -> int:
        theirs = self.first.pop(origin, None)
        if theirs is not None:
            await super().append(origin, theirs, after=after, position=position)
        return await super().append(origin, raw, after=after, position=position)


async def test_what_a_sealer_publishes_meanwhile_is_signed_too(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    party = Party(tmp_path, old)
    await Story(connected).tell(10)
    await seal(connected, pool, old, cosign=await party.cosign(connected, pool))
    origin = (await names(connected)).origin(STREAM_LOG)
    under = cosigned_name(origin)
    later = Checkpoint(origin, 10_000, bytes(32))
    cosigned = await connected.checkpoints.last(under)
    assert cosigned is not None
    note = parse_note(cosigned.raw)
    one_more = SigningKey.generate().sign_text("somebody", note.text)
    beside = Beside(
        connected.js,
        {
            origin: str(old.note(later)).encode(),
            under: str(Note(note.text, (*note.signatures, one_more))).encode(),
        },
    )
    await hand_over(beside, BASE, path)
    assert not beside.first
    keys = [old, SigningKey.from_file(path)]
    await assert_last_ones_are_signed_by(connected, keys)
    own, cosigned = await beside.last(origin), await beside.last(under)
    assert own is not None
    assert cosigned is not None
    assert parse_note(own.raw).text == old.note(later).text
    assert one_more in parse_note(cosigned.raw).signatures
    verified(parse_note(cosigned.raw), [keys[1].verifier(origin)], check_ed25519)
    for key in keys:
        assert await judged(connected, key) == []


class HandedOver(CheckpointStore):
    """The logs are handed over to another key while a sealer is in the middle of its round."""

    def __init__(self, js: JetStreamContext, path: Path) -> None:
        super().__init__(js)
        self._path = path

    async def append(self, origin: str, raw: bytes, *, after: int, position: int = 0) -> int:
        sequence = await super().append(origin, raw, after=after, position=position)
        if await self.last(handover_origin(BASE)) is None:
            await hand_over(CheckpointStore(self._js), BASE, self._path)
        return sequence


@pytest.mark.parametrize("grown", [0, 20])
async def test_the_rest_of_a_round_in_which_the_key_was_handed_over_is_signed_too(
    connected: Rig, pool: Pool, tmp_path: Path, grown: int
) -> None:
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    story = Story(connected)
    await story.tell(10)
    made = await seal(replace(connected, checkpoints=HandedOver(connected.js, path)), pool, old)
    assert made > 2
    keys = [old, SigningKey.from_file(path)]
    origin = (await names(connected)).origin(STREAM_LOG)
    stored = await connected.checkpoints.last(origin)
    assert stored is not None
    note = parse_note(stored.raw)
    assert verified(note, [one.verifier(origin) for one in keys], check_ed25519) == (
        old.verifier(origin),
    )
    await story.tell(grown)
    await seal(connected, pool, keys[1])
    if not grown:
        await assert_last_ones_are_signed_by(connected, keys)
    for key in keys:
        assert await judged(connected, key) == [], "whichever key somebody was given"
    # What the new key did not sign as well is nobody's.
    forged = str(old.note(Checkpoint(origin, 10_000, bytes(32)))).encode()
    late = StoredNote(len(await stored_notes(connected)) + 1, origin, forged)
    assert await judged(connected, keys[1], more=[late]) == ["re-signed"]


async def test_what_is_cosigned_and_not_of_the_old_key_holds_up_no_rotation(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    await Story(connected).tell(10)
    await seal(connected, pool, old)
    under = cosigned_name((await names(connected)).origin(STREAM_LOG))
    await connected.checkpoints.append(under, b"nothing", after=0)
    await hand_over(connected.checkpoints, BASE, path)
    await assert_last_ones_are_signed_by(connected, [old, SigningKey.from_file(path)])


async def test_a_hand_over_that_was_broken_off_is_finished(connected: Rig, tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    retired = await hand_over(connected.checkpoints, BASE, path)
    new = SigningKey.from_file(path)
    # As if the files had not been moved any more.
    path.rename(tmp_path / "log.key.next")
    retired.rename(path)
    assert SigningKey.from_file(path).public == old.public
    await hand_over(connected.checkpoints, BASE, path)
    assert SigningKey.from_file(path).public == new.public
    assert len(await stored_notes(connected)) == 1
    stranger = tmp_path / "other" / "log.key"
    SigningKey.generate_file(stranger)
    with pytest.raises(KeyUnavailable, match="not the one that signs now"):
        await hand_over(connected.checkpoints, BASE, stranger)


async def test_a_key_that_did_not_sign_the_last_checkpoints_publishes_nothing(
    connected: Rig, pool: Pool, tmp_path: Path
) -> None:
    """As after a copy of before an earlier rotation was put back: the key is newer than it."""
    await Story(connected).tell(10)
    await seal(connected, pool)
    before = await stored_notes(connected)
    newer = SigningKey.generate_file(tmp_path / "log.key")
    with pytest.raises(LogBroken, match="put back the key that signed it"):
        await hand_over(connected.checkpoints, BASE, tmp_path / "log.key")
    assert await stored_notes(connected) == before
    assert SigningKey.from_file(tmp_path / "log.key").public == newer.public
