"""NATS goes back, checkpoints and all: what Postgres keeps as signed holds the sealer."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_struct

from adapters.cli.log_loss import accept_loss
from adapters.crypto.signing import SigningKey
from adapters.diagnosing.signed_log import look_at_log
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.checkpoints import CHECKPOINTS, CheckpointStore
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.postgres.signed_marks import Mark, SignedMarks
from adapters.settings import Settings
from domain.errors import InvalidInput, LogBroken, StreamMismatch
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.names import STREAM_LOG
from projections.rows import Pool
from tests.integration.test_put_back import exchange
from tests.logs import BASE, Story, assert_truly_signed, names, seal, stored_notes
from tests.rig import MASTER, rig
from tests.serving import settings_for

OTHERS = (("acme", "other-1"), ("globex", "other-2"))


def deployed(nats: EmbeddedNats, dsn: str, folder: Path) -> Settings:
    """The settings of the deployment whose history the tests sign."""
    key = base64.b64encode(bytes(range(32))).decode()
    return settings_for(nats, dsn, folder, master_key=MASTER, log_name=BASE, log_key=key)


async def lose(nats: EmbeddedNats, pool: Pool, data: Path, copy: Path) -> int:
    """Sign a history, then put all of NATS back to a copy of before. Returns what was signed."""
    async with rig(nats.url) as one:
        await Story(one).tell(40)
        await seal(one, pool)
    await exchange(nats, data, copy)
    async with rig(nats.url) as one:
        story = Story(one, seed=2, devices=OTHERS)
        await story.tell(30)
        await seal(one, pool)
        signed = (await one.raw.ends())[1]
    await exchange(nats, copy, data)
    return signed


@pytest.mark.parametrize("dropped", [False, True], ids=["tiles stay", "tiles are dropped"])
@pytest.mark.parametrize(
    ("grown", "why"), [(1, "the stream ends at"), (60, "no longer has the signed root")]
)
async def test_another_history_is_not_signed_after_a_return_and_a_recorded_word_is_the_way_out(
    nats_server: EmbeddedNats, pool: Pool, tmp_path: Path, grown: int, why: str, *, dropped: bool
) -> None:
    signed = await lose(nats_server, pool, tmp_path / "nats", tmp_path / "copy")
    if dropped:
        await pool.execute("DROP SCHEMA configtrail_log CASCADE")
    async with rig(nats_server.url) as one:
        await Story(one, seed=3, devices=OTHERS).tell(grown)
        before = await stored_notes(one)
        with pytest.raises(LogBroken, match=f"(?s){why}.*audit accept-loss"):
            await seal(one, pool)
        assert await stored_notes(one) == before
        marks = SignedMarks(pool)
        given_up = await marks.give_up(BASE, actor="user:ann", reason="the disk is gone")
        stream = (await names(one)).origin(STREAM_LOG)
        assert [two.size for two in given_up if two.origin == stream] == [signed]
        assert await seal(one, pool) > 0
        await assert_truly_signed(one)
        told = await marks.given_up(BASE)
        assert {(two.actor, two.reason) for two in told} == {("user:ann", "the disk is gone")}
        assert {two.note for two in told} == {two.note for two in given_up}


async def test_a_loss_is_accepted_only_where_something_is_lost(
    nats_server: EmbeddedNats, postgres_dsn: str, pool: Pool, tmp_path: Path
) -> None:
    settings = deployed(nats_server, postgres_dsn, tmp_path)
    marks = SignedMarks(pool)
    async with rig(nats_server.url) as one:
        await Story(one, seed=4).tell(30)
        await seal(one, pool)
        await Story(one, seed=5, devices=(("hooli", "r1"),)).tell(5)
        before = await marks.all_of(BASE)
        for _ in range(2):
            with pytest.raises(InvalidInput, match="the stream has all that was signed"):
                await accept_loss(settings, reason="a try", yes=True)
            # Lost checkpoints are no lost history: the sealer publishes them again.
            await one.js.delete_stream(CHECKPOINTS)
            await one.checkpoints.ensure()
        assert await marks.all_of(BASE) == before
        assert await marks.given_up(BASE) == []


@pytest.mark.parametrize("grown", [0, 60], ids=["it is shorter", "it has grown since"])
async def test_a_loss_is_accepted_where_the_stream_is_not_what_was_signed(
    nats_server: EmbeddedNats, postgres_dsn: str, pool: Pool, tmp_path: Path, grown: int
) -> None:
    await lose(nats_server, pool, tmp_path / "nats", tmp_path / "copy")
    settings = deployed(nats_server, postgres_dsn, tmp_path)
    async with rig(nats_server.url) as one:
        await Story(one, seed=3, devices=OTHERS).tell(grown)
        assert await accept_loss(settings, reason="the disk is gone", yes=True) == 0
    assert await SignedMarks(pool).all_of(BASE) == {}


@pytest.mark.parametrize("other", [False, True], ids=["the tenant's log", "another stream's"])
async def test_what_nobody_signed_tells_of_no_loss_and_of_no_other_stream(
    nats_server: EmbeddedNats, postgres_dsn: str, pool: Pool, tmp_path: Path, *, other: bool
) -> None:
    settings = deployed(nats_server, postgres_dsn, tmp_path)
    marks = SignedMarks(pool)
    async with rig(nats_server.url) as one:
        await Story(one, seed=4).tell(30)
        await seal(one, pool)
        if other:
            origin = f"{BASE}/stream/{EVENTS}/20200101T000000.000000Z"
            await marks.keep([Mark(origin, 7, 7, "?")])
            await Story(one, seed=5, devices=OTHERS).tell(5)
            with pytest.raises(LogBroken, match=r"is no checkpoint of this key.*delete that row"):
                await seal(one, pool)
        else:
            origin = f"{BASE}/tenant/acme"
            await pool.execute(
                "UPDATE configtrail_signed.marks SET note = '?', size = 1, position = 999"
                " WHERE origin = $1",
                origin,
            )
        before = await marks.all_of(BASE)
        with pytest.raises(InvalidInput, match=f"{origin} is of no key of yours"):
            await accept_loss(settings, reason="a try", yes=True)
        assert await marks.all_of(BASE) == before
        assert await marks.given_up(BASE) == []
        await pool.execute("DELETE FROM configtrail_signed.marks WHERE origin = $1", origin)
        await seal(one, pool)


@pytest.mark.parametrize("noted", [False, True], ids=["all of NATS is gone", "the stream is"])
async def test_over_a_stream_that_was_made_anew_no_loss_is_accepted(
    nats_server: EmbeddedNats, postgres_dsn: str, pool: Pool, tmp_path: Path, *, noted: bool
) -> None:
    settings = deployed(nats_server, postgres_dsn, tmp_path)
    marks = SignedMarks(pool)
    async with rig(nats_server.url) as one:
        await Story(one).tell(30)
        await seal(one, pool)
        await one.js.delete_stream(EVENTS)
        await one.js.add_stream(events_stream_config())
        if not noted:
            await one.js.delete_stream(CHECKPOINTS)
            await one.checkpoints.ensure()
        await Story(one, seed=2).tell(5)
        before = await marks.all_of(BASE)
        with pytest.raises(StreamMismatch, match="CONFIGTRAIL_LOG_NAME"):
            await accept_loss(settings, reason="a try", yes=True)
        with pytest.raises(StreamMismatch, match="CONFIGTRAIL_LOG_NAME"):
            await seal(one, pool)
        assert await marks.all_of(BASE) == before
        (told,) = await look_at_log(one.nc, postgres_dsn, settings)
        assert (told.verdict, "CONFIGTRAIL_LOG_NAME" in told.told) == ("wrong", True)


OTHER = SigningKey(bytes(32))


async def test_doctor_accuses_nobody_for_what_others_store_among_the_checkpoints(
    nats_server: EmbeddedNats, postgres_dsn: str, pool: Pool, tmp_path: Path
) -> None:
    """Anybody who may publish there can use the name of another stream's log."""
    settings = deployed(nats_server, postgres_dsn, tmp_path)
    without_key = settings.model_copy(update={"log_key": None})
    strange = f"{BASE}/stream/{EVENTS}/20200101T000000.000000Z"
    async with rig(nats_server.url) as one:
        await Story(one).tell(30)
        await seal(one, pool)

        async def verdicts(of: Settings) -> list[str]:
            return [told.verdict for told in await look_at_log(one.nc, postgres_dsn, of)]

        sequence = await one.checkpoints.append(strange, b"hello", after=0)
        assert await verdicts(settings) == await verdicts(without_key) == ["fine"]
        forged = str(OTHER.note(Checkpoint(strange, 7, bytes(32)))).encode()
        await one.checkpoints.append(strange, forged, after=sequence)
        assert await verdicts(settings) == ["fine"]
        # Who has no key can't tell it from a true one, which would be as bad as can be.
        assert await verdicts(without_key) == ["notice"]


@pytest.mark.parametrize("wrong", ["of another key", "unsigned", "of another size", "no note"])
async def test_what_postgres_keeps_counts_only_as_it_was_signed(
    nats_server: EmbeddedNats, pool: Pool, wrong: str
) -> None:
    async with rig(nats_server.url) as one:
        await Story(one).tell(40)
        await seal(one, pool)
        stream = (await names(one)).origin(STREAM_LOG)
        marks = SignedMarks(pool)
        mark = (await marks.all_of(BASE))[stream]
        await Story(one, seed=2, devices=OTHERS).tell(5)
        larger = Checkpoint(stream, mark.size + 1, bytes(32))
        signed = str(OTHER.note(larger))
        note = {
            "of another key": signed,
            "unsigned": signed.partition("\n\n")[0] + "\n\n",
            "of another size": mark.note,
            "no note": "?",
        }[wrong]
        await marks.keep([replace_struct(mark, size=mark.size + 1, note=note)])
        before = await stored_notes(one)
        with pytest.raises(LogBroken, match="what Postgres keeps of it is no checkpoint of this"):
            await seal(one, pool)
        assert await stored_notes(one) == before
        await pool.execute("DELETE FROM configtrail_signed.marks WHERE origin = $1", stream)
        assert await seal(one, pool) > 0
        await assert_truly_signed(one)


async def test_lost_checkpoints_of_a_whole_history_are_published_again(
    nats_server: EmbeddedNats, pool: Pool
) -> None:
    async with rig(nats_server.url) as one:
        await Story(one).tell(40)
        await seal(one, pool)
        before = {two.origin: two.raw for two in await stored_notes(one)}
        await one.js.delete_stream(CHECKPOINTS)
        await one.checkpoints.ensure()
        assert await seal(one, pool) == len(before)
        assert {two.origin: two.raw for two in await stored_notes(one)} == before
        assert await seal(one, pool) == 0
        await Story(one, seed=2, devices=OTHERS).tell(5)
        await seal(one, pool)
        await assert_truly_signed(one)


async def test_an_installation_of_before_goes_on_and_has_marks_from_then_on(
    nats_server: EmbeddedNats, pool: Pool
) -> None:
    async with rig(nats_server.url) as one:
        await Story(one).tell(40)
        await seal(one, pool)
        marks = SignedMarks(pool)
        await pool.execute("DROP SCHEMA configtrail_signed CASCADE")
        assert await marks.all_of(BASE) == {}
        assert await marks.give_up(BASE, actor="user:ann", reason="x") == []
        await Story(one, seed=2, devices=OTHERS).tell(5)
        assert await seal(one, pool) > 0
        origin = (await names(one)).origin(STREAM_LOG)
        assert (await marks.all_of(BASE))[origin].size == (await one.raw.ends())[1]


async def test_marks_that_are_gone_are_kept_anew_before_anything_happens(
    nats_server: EmbeddedNats, pool: Pool
) -> None:
    async with rig(nats_server.url) as one:
        await Story(one).tell(40)
        await seal(one, pool)
        marks = SignedMarks(pool)
        before = await marks.all_of(BASE)
        await pool.execute("DROP SCHEMA configtrail_signed CASCADE")
        assert await seal(one, pool) == 0
        assert await marks.all_of(BASE) == before
        # A sealer that was killed after it published, and before it kept that.
        await pool.execute("UPDATE configtrail_signed.marks SET size = size - 1")
        assert await seal(one, pool) == 0
        assert await marks.all_of(BASE) == before


@pytest.mark.parametrize("grown", [False, True])
async def test_a_round_that_was_broken_off_is_kept_too(
    nats_server: EmbeddedNats, pool: Pool, *, grown: bool
) -> None:
    async with rig(nats_server.url) as one:
        await Story(one).tell(10)
        await seal(one, pool)
        await Story(one, seed=2, devices=(("acme", "new"),)).tell(5)
        tenant = (await names(one)).origin("tenant/acme")
        checkpoints = one.checkpoints

        class Killed(Exception):
            pass

        class Breaking(CheckpointStore):
            async def append(
                self, origin: str, raw: bytes, *, after: int, position: int = 0
            ) -> int:
                if origin != tenant:
                    raise Killed
                return await super().append(origin, raw, after=after, position=position)

        with pytest.raises(Killed):
            await seal(replace(one, checkpoints=Breaking(one.js)), pool)
        if grown:
            await Story(one, seed=3, devices=(("acme", "newer"),)).tell(5)
        await seal(one, pool)
        told = await checkpoints.last(tenant)
        assert told is not None
        assert (await SignedMarks(pool).all_of(BASE))[tenant].note.encode() == told.raw


async def test_a_mark_only_grows_and_is_of_its_deployment(pool: Pool) -> None:
    marks = SignedMarks(pool)
    await asyncio.gather(marks.ensure(), SignedMarks(pool).ensure())
    kept = [
        Mark("a/x/tenant/t", 5, 9, "five\n\nby two keys\n"),
        Mark("a/x2/tenant/t", 7, 9, "seven\n\nsigned\n"),
    ]
    # At the same size only what signs the same takes the place.
    await marks.keep([replace_struct(kept[0], note="five\n\nby one key\n"), kept[1]])
    await marks.keep(kept)
    await marks.keep([Mark("a/x/tenant/t", 4, 9, "four"), Mark("a/x2/tenant/t", 7, 9, "7\n\nx")])
    await marks.keep([])
    assert await marks.all_of("a/x") == {"a/x/tenant/t": kept[0]}
    await marks.give_up("a/x", actor="user:ann", reason="x")
    assert await marks.all_of("a/x") == {}
    assert await marks.all_of("a/x2") == {"a/x2/tenant/t": kept[1]}
