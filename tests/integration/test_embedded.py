"""A data folder and its two servers: one program at a time, found by others, never orphaned."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from adapters.cli import session
from adapters.cli.doctor import doctor
from adapters.cli.parked import list_parked
from adapters.cli.rebuilding import rebuild
from adapters.embedded import launch
from adapters.embedded.errors import DataFolderInUse, DataFolderUnusable
from adapters.embedded.nats import EmbeddedNats, nats_session
from adapters.embedded.process import Child, end_stale
from adapters.embedded.runtime import Endpoints, embedded, running
from adapters.settings import Settings
from domain.errors import StreamMismatch, Unavailable
from projections import ACCESS
from tests.support import children_in, eventually

PROGRAM = """
import asyncio, sys
from pathlib import Path
from adapters.embedded.runtime import embedded

async def main():
    async with embedded(Path(sys.argv[1])):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def program(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of its own that runs both servers in the folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"up\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def remember(endpoints: Endpoints) -> None:
    async with nats_session(endpoints.nats_url) as client:
        stream = client.jetstream()
        await stream.add_stream(name="KEEP", subjects=["keep.>"])
        await stream.publish("keep.it", b"in JetStream")
    connection = await asyncpg.connect(endpoints.postgres_dsn)
    try:
        await connection.execute("CREATE TABLE kept AS SELECT 'in Postgres' AS it")
    finally:
        await connection.close()


async def recall(endpoints: Endpoints) -> tuple[bytes | None, object]:
    async with nats_session(endpoints.nats_url) as client:
        message = await client.jetstream().get_msg("KEEP", 1)
    connection = await asyncpg.connect(endpoints.postgres_dsn)
    try:
        return message.data, await connection.fetchval("SELECT it FROM kept")
    finally:
        await connection.close()


async def test_a_folder_keeps_its_data_over_runs_and_over_a_killed_program(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded(folder) as endpoints:
        await remember(endpoints)
    async with program(folder) as process:
        process.kill()
    async with embedded(folder) as endpoints:
        assert await recall(endpoints) == (b"in JetStream", "in Postgres")
    assert children_in(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_a_killed_program_leaves_no_server(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with program(folder) as process:
        assert len(children_in(folder)) >= 3
        process.kill()
        await process.wait()
        await eventually(lambda: not children_in(folder))


async def test_a_second_program_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with program(folder) as process:
        with pytest.raises(DataFolderInUse, match=f"process {process.pid}"):
            async with embedded(folder):
                pass
        found = await running(folder)
        assert found is not None
        await remember(found)
        assert await recall(found) == (b"in JetStream", "in Postgres")


async def test_only_a_running_folder_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert await running(folder) is None
    async with embedded(folder) as endpoints:
        assert await running(folder) == endpoints
        left = (folder / "runtime.json").read_bytes()
    assert await running(folder) is None
    assert not (folder / "runtime.json").exists()
    (folder / "runtime.json").write_bytes(left)
    assert await running(folder) is None


async def test_servers_that_die_are_started_again_where_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded(folder) as endpoints:
        await remember(endpoints)
        for server in ("nats", "postgres"):
            record = folder / server / "process.json"
            pid = json.loads(record.read_bytes())["pid"]
            os.kill(pid, signal.SIGKILL)
            await eventually(partial(_another, record, pid))
        assert await eventually(lambda: answering(folder)) == endpoints
        assert await recall(endpoints) == (b"in JetStream", "in Postgres")


async def answering(folder: Path) -> Endpoints | None:
    try:
        return await running(folder)
    except Unavailable:
        return None


@pytest.mark.parametrize("server", ["nats", "postgres"])
async def test_a_server_that_stands_still_is_named(
    server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And not the folder, which another program has as it should."""
    folder = tmp_path / "data"
    called = {"nats": "nats-server", "postgres": "Postgres"}[server]
    async with embedded(folder) as endpoints:
        pid = json.loads((folder / server / "process.json").read_bytes())["pid"]
        os.kill(pid, signal.SIGSTOP)
        said = f"the {called} of the data folder {folder} does not answer: TimeoutError"
        try:
            async with AsyncExitStack() as stack:
                with pytest.raises(Unavailable) as silent:
                    await session.servers(stack, Settings(data_dir=folder), within=0)
                assert str(silent.value) == said
            assert await doctor(Settings(data_dir=folder)) == 1
            assert said in " ".join(capsys.readouterr().out.split())
            async with AsyncExitStack() as stack:
                finding = asyncio.create_task(session.servers(stack, Settings(data_dir=folder)))
                await eventually(lambda: f"waiting: {said}" in capsys.readouterr().err)
                os.kill(pid, signal.SIGCONT)
                found, own = await finding
                assert (found, own) == (session.at(found, endpoints), False)
        finally:
            os.kill(pid, signal.SIGCONT)


def _another(record: Path, pid: int) -> bool:
    return record.exists() and json.loads(record.read_bytes())["pid"] != pid


async def test_an_error_in_the_body_comes_out_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    inner = ExceptionGroup("two of them", [ValueError("one"), ValueError("two")])
    with pytest.raises(ExceptionGroup) as raised:
        async with embedded(folder):
            raise inner
    assert raised.value is inner
    assert children_in(folder) == []


async def test_secrets_are_private_and_show_in_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded(folder) as endpoints:
        secrets = json.loads((folder / "secrets.json").read_bytes())
        for path in folder.rglob("*"):
            beyond = 0o001 if path.is_dir() else 0
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o077 & ~beyond, path
        assert secrets["nats_password"] in endpoints.nats_url
        shown = repr(endpoints)
        logs = b"".join(log.read_bytes() for log in folder.glob("*/server.log")).decode()
        for name in ("nats_password", "jetstream_key", "postgres_password"):
            assert secrets[name] not in shown
            assert secrets[name] not in logs


async def test_secrets_that_others_may_read_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded(folder):
        pass
    (folder / "secrets.json").chmod(0o640)
    with pytest.raises(DataFolderUnusable, match=r"chmod 600 .*secrets\.json"):
        async with embedded(folder):
            pass


async def test_lost_or_damaged_secrets_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded(folder):
        pass
    (folder / "secrets.json").write_text('{"nats_user": "configtrail"')
    with pytest.raises(DataFolderUnusable, match="damaged"):
        async with embedded(folder):
            pass
    (folder / "secrets.json").unlink()
    with pytest.raises(DataFolderUnusable, match="nats and postgres can't be opened"):
        async with embedded(folder):
            pass
    assert not (folder / "secrets.json").exists()


async def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(DataFolderUnusable, match="others may write"):
        async with embedded(folder):
            pass


async def test_a_look_at_the_lock_does_not_keep_a_program_out(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with embedded(folder):
        pass
    with (folder / "lock").open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        entering = asyncio.create_task(_enter_and_leave(folder))
        await asyncio.wait([entering], timeout=0.1)
        fcntl.flock(looking, fcntl.LOCK_UN)
        await entering


async def _enter_and_leave(folder: Path) -> None:
    async with embedded(folder):
        pass


async def test_a_stale_server_is_ended_at_the_next_start(nats_server: EmbeddedNats) -> None:
    stale = nats_server.pid
    again = EmbeddedNats(nats_server.data_dir, encryption_key=None, user="u", password="p")
    await again.start()
    try:
        assert launch.started(stale) is None
        assert children_in(nats_server.data_dir) == [again.pid]
    finally:
        await again.stop()


async def test_a_process_that_only_has_the_recorded_id_is_left_alone(tmp_path: Path) -> None:
    bystander = await Child.spawn(["/bin/sleep", "60"], cwd=tmp_path, log=tmp_path / "log")
    try:
        record = tmp_path / "process.json"
        record.write_text(json.dumps({"pid": bystander.pid, "started": "another boot/1"}))
        assert await end_stale(record) is None
        assert launch.started(bystander.pid) is not None
        assert not record.exists()
        record.write_text('{"pid": ')
        assert await end_stale(record) is None
    finally:
        await bystander.end()


async def test_where_one_read_model_is_of_another_stream_the_way_out_is_still_there(
    tmp_path: Path,
) -> None:
    """`parked skip` may be what a rebuild waits for, and `configtrail up` does not start then."""
    settings = Settings(data_dir=tmp_path / "data")
    async with session.session(settings, session.Need.READ_MODELS) as opened:
        await opened.system.pool.execute(
            "UPDATE configtrail.checkpoints SET stream_created = '2020-01-01'"
            " WHERE projection = 'access'"
        )
    with pytest.raises(StreamMismatch, match="rebuild access"):
        async with session.session(settings, session.Need.READ_MODELS):
            pass
    assert await list_parked(settings) == 0
    assert await rebuild(settings, name=ACCESS) == 0
    async with session.session(settings, session.Need.READ_MODELS):
        pass
