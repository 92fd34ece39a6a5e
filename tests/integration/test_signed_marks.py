"""NATS goes back, checkpoints and all: what Postgres keeps as signed holds the sealer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.checkpoints import CHECKPOINTS
from adapters.postgres.pool import open_pool
from adapters.postgres.signed_marks import Mark, SignedMarks
from domain.errors import LogBroken
from domain.tlog.names import STREAM_LOG
from projections.rows import Pool
from tests.integration.test_put_back import exchange
from tests.logs import BASE, Story, assert_truly_signed, names, seal, stored_notes
from tests.rig import rig

OTHERS = (("acme", "other-1"), ("globex", "other-2"))


@pytest_asyncio.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(postgres_dsn) as one:
        yield one


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


async def test_a_mark_only_grows_and_is_of_its_deployment(pool: Pool) -> None:
    marks = SignedMarks(pool)
    await asyncio.gather(marks.ensure(), SignedMarks(pool).ensure())
    kept = [Mark("a/x/tenant/t", 5, 9, "five"), Mark("a/x2/tenant/t", 7, 9, "seven")]
    await marks.keep(kept)
    await marks.keep([Mark("a/x/tenant/t", 4, 9, "four")])
    await marks.keep([])
    assert await marks.all_of("a/x") == {"a/x/tenant/t": kept[0]}
    await marks.give_up("a/x", actor="user:ann", reason="x")
    assert await marks.all_of("a/x") == {}
    assert await marks.all_of("a/x2") == {"a/x2/tenant/t": kept[1]}
