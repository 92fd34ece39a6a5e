"""The embedded nats-server keeps what it acknowledged, and keeps it encrypted."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
from pathlib import Path

import nats
import pytest

from adapters.embedded.blocks import remove_unkeyed_blocks
from adapters.embedded.errors import ServerFailed
from adapters.embedded.nats import EmbeddedNats, nats_session
from tests.support import children_in

START = Path(__file__).parents[2] / "deploy/nats/start.sh"
CANARY = b"canary-5e1f password=hunter2"


async def publish(server: EmbeddedNats, *bodies: bytes) -> None:
    connection = await nats.connect(server.url)
    try:
        stream = connection.jetstream()
        await stream.add_stream(name="KEEP", subjects=["keep.>"])
        for body in bodies:
            await stream.publish("keep.it", body)
    finally:
        await connection.close()


async def stored(server: EmbeddedNats, sequence: int) -> bytes | None:
    connection = await nats.connect(server.url)
    try:
        return (await connection.jetstream().get_msg("KEEP", sequence)).data
    finally:
        await connection.close()


def everything_in(folder: Path, pattern: str = "**/*") -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob(pattern)) if path.is_file())


async def test_stop_and_start_keep_data_and_port(nats_server: EmbeddedNats) -> None:
    await publish(nats_server, b"one", b"two")
    url, pid = nats_server.url, nats_server.pid
    await nats_server.stop()
    assert not nats_server.running
    await nats_server.start()
    assert nats_server.url == url
    assert nats_server.pid != pid
    assert await stored(nats_server, 2) == b"two"


async def test_encrypted_data_survives_a_kill_and_holds_no_plain_text(
    nats_server: EmbeddedNats,
) -> None:
    await publish(nats_server, *[CANARY + b" %d" % number for number in range(50)])
    await nats_server.kill()
    await nats_server.start()
    assert await stored(nats_server, 50) == CANARY + b" 49"
    assert everything_in(nats_server.data_dir / "jetstream")
    assert CANARY not in everything_in(nats_server.data_dir)
    await nats_server.stop()
    await nats_server.start()
    assert await stored(nats_server, 1) == CANARY + b" 0"
    assert CANARY not in everything_in(nats_server.data_dir)


async def test_without_a_key_plain_text_would_be_found(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path / "plain", encryption_key=None, user="u", password="p")
    await server.start()
    try:
        await publish(server, CANARY)
        assert CANARY in everything_in(server.data_dir)
    finally:
        await server.stop()


async def test_the_key_is_in_no_file_and_no_argument(tmp_path: Path) -> None:
    key = "12e4" + "5a" * 30
    server = EmbeddedNats(tmp_path / "keyed", encryption_key=key, user="u", password="p")
    await server.start()
    try:
        await publish(server, b"one")
        assert key.encode() not in everything_in(server.data_dir)
        assert key.encode() not in everything_in(Path(f"/proc/{server.pid}"), "cmdline")
    finally:
        await server.stop()


async def test_another_key_is_refused_with_the_end_of_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    first = EmbeddedNats(folder, encryption_key="right", user="u", password="p")
    await first.start()
    await publish(first, b"one")
    await first.stop()
    second = EmbeddedNats(folder, encryption_key="wrong", user="u", password="p")
    try:
        with pytest.raises(ServerFailed) as failure:
            await second.start()
    finally:
        await second.stop()
    assert "KEEP" in failure.value.reason
    assert "unable to recover keys" in str(failure.value)
    again = EmbeddedNats(folder, encryption_key="right", user="u", password="p")
    await again.start()
    try:
        assert await stored(again, 1) == b"one"
    finally:
        await again.stop()


async def test_strangers_are_refused(nats_server: EmbeddedNats) -> None:
    with pytest.raises(ConnectionError, match="Authorization Violation"):
        async with nats_session(f"nats://tests:guess@127.0.0.1:{nats_server.port}"):
            pass


async def test_files_are_private_and_messages_may_be_8_mib(nats_server: EmbeddedNats) -> None:
    for path in nats_server.data_dir.iterdir():
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    connection = await nats.connect(nats_server.url)
    try:
        assert connection.max_payload == 8 * 1024 * 1024
    finally:
        await connection.close()


async def test_a_port_that_is_taken_fails_with_the_servers_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = EmbeddedNats(
            tmp_path / "n", port=port, encryption_key=None, user="u", password="p"
        )
        with pytest.raises(ServerFailed, match="address already in use"):
            await server.start()
    assert not server.running
    await server.start()
    await server.stop()


@pytest.mark.parametrize("milliseconds", [0, 1, 5, 15, 25, 35, 50])
async def test_a_start_cancelled_at_any_moment_leaves_no_process(
    tmp_path: Path, milliseconds: int
) -> None:
    server = EmbeddedNats(tmp_path / "c", encryption_key=None, user="u", password="p")
    start = asyncio.create_task(server.start())
    await asyncio.wait([start], timeout=milliseconds / 1000)
    if start.cancel():
        with pytest.raises(asyncio.CancelledError):
            await start
        assert not server.running
    await server.stop()
    assert children_in(server.data_dir) == []


async def test_a_kill_while_a_block_begins_loses_no_stream(nats_server: EmbeddedNats) -> None:
    await publish(nats_server, b"one", b"two")
    await nats_server.kill()
    block = empty_block(nats_server.data_dir / "jetstream")
    await nats_server.start()
    assert await stored(nats_server, 2) == b"two"
    await publish(nats_server, b"three")
    assert await stored(nats_server, 3) == b"three"
    assert not block.exists() or block.with_suffix(".key").exists()


def test_the_script_that_starts_a_server_removes_the_same(tmp_path: Path) -> None:
    for name, size, keyed in (("1", 9, True), ("2", 0, True), ("3", 9, False)):
        block = tmp_path / f"jetstream/$G/streams/A B/msgs/{name}.blk"
        block.parent.mkdir(parents=True, exist_ok=True)
        block.write_bytes(b"x" * size)
        if keyed:
            block.with_suffix(".key").write_bytes(b"key")
    kept = set(tmp_path.rglob("*"))
    empty_block(tmp_path, "jetstream/$G/streams/A B/msgs")
    (tmp_path / "nats-server").write_text('#!/bin/sh\necho "started with $*"\n')
    (tmp_path / "nats-server").chmod(0o755)
    told = subprocess.run(
        ["sh", str(START), "--config", "it"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "STORE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "started with --config it\n"
    assert "4.blk: empty, and without its key" in told.stderr
    assert set(tmp_path.rglob("*")) == kept | {tmp_path / "nats-server"}
    assert not remove_unkeyed_blocks(tmp_path)


def empty_block(store: Path, messages: str = "jetstream/$G/streams/KEEP/msgs") -> Path:
    """What a server that is killed leaves when it had just begun its next block."""
    there = [int(one.stem) for one in (store / messages).glob("*.blk")]
    block = store / messages / f"{max(there) + 1}.blk"
    block.touch()
    return block
