"""Sealers killed at random: one line of checkpoints, one root a size, nothing left out."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from contextlib import AsyncExitStack, aclosing
from multiprocessing.process import BaseProcess

import asyncpg

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.checkpoints import Overtaken
from adapters.postgres.pool import open_pool
from adapters.roles.sealing import TilesWrong
from domain.tlog.names import STREAM_LOG
from tests.logs import Story, assert_truly_signed, names, seal, sealing, stored_notes
from tests.rig import Rig, rig
from tests.support import eventually

KILLS = 100


async def _seal_for_ever(nats_url: str, dsn: str) -> None:
    """As the role does, but without the lease, and signing after every batch: what must hold, must
    hold whoever else seals meanwhile."""
    async with rig(nats_url) as one, open_pool(dsn, max_size=2) as pool:
        rebuild = False
        while True:
            work = sealing(one, pool)
            try:
                await work.open(rebuild=rebuild)
                rebuild = False
                async with aclosing(work.follow()) as batches:
                    async for batch in batches:
                        await work.apply(batch)
                        await work.seal()
            except Overtaken:
                continue
            except (TilesWrong, asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                rebuild = True


def _run(nats_url: str, dsn: str) -> None:
    asyncio.run(_seal_for_ever(nats_url, dsn))


async def _life(process: BaseProcess, rig: Rig, story: Story) -> float:
    """How long a sealer lives here until it has signed something, in seconds; then it dies."""
    await story.tell(20)
    before = len(await stored_notes(rig))
    started = time.monotonic()
    process.start()

    async def signed() -> bool:
        return len(await stored_notes(rig)) > before

    try:
        await eventually(signed, within=60)
        return time.monotonic() - started
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        process.close()


async def test_sealers_killed_a_hundred_times_never_fork_or_skip(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    choice = random.Random(6962)
    # A server that forks with everything imported: killing a process is cheap then.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    running: list[BaseProcess] = []
    urls = (nats_server.url, postgres_dsn)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(rig(nats_server.url))
        pool = await stack.enter_async_context(open_pool(postgres_dsn, max_size=2))
        story = Story(one)
        try:
            # The first one waits for the server that forks.
            for _ in range(2):
                life = await _life(context.Process(target=_run, args=urls), one, story)
            for kill in range(KILLS):
                # Now and then a second one runs beside the first.
                while len(running) < (2 if kill % 4 == 3 else 1):
                    running.append(context.Process(target=_run, args=urls))
                    running[-1].start()
                await story.tell(choice.randrange(5, 40))
                # It dies wherever it is by then: connecting, reading, writing tiles, signing.
                await asyncio.sleep(choice.uniform(0, min(1.5, 2 * life)))
                dying = running.pop(choice.randrange(len(running)))
                dying.kill()
                await asyncio.to_thread(dying.join)
                dying.close()
        finally:
            for left in running:
                left.kill()
                await asyncio.to_thread(left.join)
        made = len(await stored_notes(one))
        assert made > KILLS / 4, "sealers were killed before they had done anything"
        await seal(one, pool)
        signed = await assert_truly_signed(one)
        assert signed[(await names(one)).origin(STREAM_LOG)][-1].size == story.told
        assert sum(found[-1].size for found in signed.values()) == 2 * story.told
