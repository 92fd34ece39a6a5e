"""What a disk does to a stream unseen by the server: verification names it, the sealer stops."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.errors import NoRespondersError

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.streams import EVENTS
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.roles.sealer import SEAL_SUBJECT
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.verify import Options, Report, verify
from domain.errors import LogBroken, StreamGap
from projections.rows import Pool
from tests.logs import BASE, KEY, Story, seal, sealer_role, stored_notes
from tests.rig import Rig, rig
from tests.support import eventually

OPTIONS = Options(BASE, (KEY.public,), rows=False, content=False)

LATER = (("acme", "later-1"), ("globex", "later-2"))


def stream_folder(folder: Path) -> Path:
    """Where the server keeps the stream of events."""
    (found,) = folder.rglob(f"streams/{EVENTS}")
    return found


async def verified(one: Rig, pool: Pool) -> Report:
    evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
    return await verify(evidence, OPTIONS)


def flip_a_byte(stream: Path, older: Path) -> None:
    """The server drops what does not fit its checksum, and says nothing."""
    block = sorted((stream / "msgs").glob("*.blk"))[0]
    raw = bytearray(block.read_bytes())
    raw[len(raw) // 2] ^= 1
    block.write_bytes(raw)
    # Without its index it reads the blocks again, as after any unclean end.
    for index in (stream / "msgs").glob("index.db"):
        index.unlink()


def cut_the_last_block(stream: Path, older: Path) -> None:
    """As by a disk that was full, or a copy that was broken off."""
    block = sorted((stream / "msgs").glob("*.blk"))[-1]
    raw = block.read_bytes()
    block.write_bytes(raw[: len(raw) * 2 // 3])
    for index in (stream / "msgs").glob("index.db"):
        index.unlink()


def put_an_older_copy_back(stream: Path, older: Path) -> None:
    """The server takes it for what it is: a stream, whose next events get the old numbers."""
    shutil.rmtree(stream)
    shutil.copytree(older, stream)


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (flip_a_byte, {"missing", "truncated"}),
        (cut_the_last_block, {"missing", "truncated"}),
        (put_an_older_copy_back, {"truncated"}),
    ],
)
async def test_damage_to_the_streams_files_is_named(
    nats_server: EmbeddedNats,
    postgres_dsn: str,
    tmp_path: Path,
    damage: Callable[[Path, Path], None],
    kinds: set[str],
) -> None:
    async with open_pool(postgres_dsn) as pool:
        async with rig(nats_server.url) as one:
            await Story(one).tell(40)
        await nats_server.stop()
        stream, older = stream_folder(tmp_path), tmp_path / "older"
        shutil.copytree(stream, older)
        await nats_server.start()
        async with rig(nats_server.url) as one:
            await Story(one, seed=2, devices=LATER).tell(40)
            await seal(one, pool)
            assert (await verified(one, pool)).ok
        await nats_server.stop()
        damage(stream, older)
        await nats_server.start()
        async with rig(nats_server.url) as one:
            report = await verified(one, pool)
            assert report.findings[0].what == "event"
            assert report.findings[0].kind in kinds, report.findings
            with pytest.raises((StreamGap, LogBroken)):
                await seal(one, pool)


async def test_events_that_took_the_numbers_of_lost_ones_are_found(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with open_pool(postgres_dsn) as pool:
        async with rig(nats_server.url) as one:
            await Story(one).tell(40)
            before = (await one.raw.ends())[1]
        await nats_server.stop()
        stream, older = stream_folder(tmp_path), tmp_path / "older"
        shutil.copytree(stream, older)
        await nats_server.start()
        async with rig(nats_server.url) as one:
            await Story(one, seed=2, devices=LATER).tell(40)
            await seal(one, pool)
        await nats_server.stop()
        put_an_older_copy_back(stream, older)
        await nats_server.start()
        async with rig(nats_server.url) as one:
            await Story(one, seed=3, devices=LATER).tell(80)
            report = await verified(one, pool)
            found = report.findings[0]
            assert (found.what, found.kind, found.position) == ("event", "altered", before + 1)
            with pytest.raises(LogBroken, match="no longer has the signed root"):
                await seal(one, pool)


async def test_a_running_sealer_signs_nothing_over_a_stream_that_went_back(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    """The server comes back with an older copy while the sealer waits for events."""
    async with open_pool(postgres_dsn) as pool, rig(nats_server.url) as one:
        await Story(one).tell(40)
        await nats_server.stop()
        stream, older = stream_folder(tmp_path), tmp_path / "older"
        shutil.copytree(stream, older)
        await nats_server.start()
        role = asyncio.create_task((await sealer_role(one, pool, every=0.05)).run())
        await Story(one, seed=2, devices=LATER).tell(40)

        async def answered() -> bool:
            try:
                await one.nc.request(SEAL_SUBJECT, b"", timeout=20)
            except NoRespondersError:  # it is still starting
                return False
            return True

        await eventually(answered)
        signed = len(await stored_notes(one))
        await nats_server.stop()
        put_an_older_copy_back(stream, older)
        await nats_server.start()
        await eventually(lambda: one.nc.is_connected)
        await Story(one, seed=3, devices=LATER).tell(80)
        with pytest.raises((LogBroken, StreamGap)):
            await asyncio.wait_for(role, 60)
        assert len(await stored_notes(one)) == signed
