"""Keys that are slow to read hold up neither those that are not, nor the end of the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import asyncssh
import pytest

from adapters.ssh.private_keys import private_key
from tests.support import eventually


class Reader:
    """Reads keys, those with a passphrase when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.begun: list[str | None] = []
        self._read = asyncssh.import_private_key

    def __call__(self, text: str, passphrase: str | None) -> asyncssh.SSHKey:
        self.begun.append(passphrase)
        if passphrase is not None:
            self.let.wait()
        return self._read(text, passphrase)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    reader = Reader()
    monkeypatch.setattr(asyncssh, "import_private_key", reader)
    yield reader
    reader.let.set()


async def test_a_key_without_a_passphrase_waits_for_none_that_has_one(reader: Reader) -> None:
    slow = [asyncio.create_task(private_key(a_key(), f"one {n}")) for n in range(3)]
    await eventually(lambda: len(reader.begun) == 2)
    async with asyncio.timeout(20):
        await private_key(a_key(), None)
    assert not any(one.done() for one in slow)
    reader.let.set()
    await asyncio.gather(*slow)


async def test_what_nobody_waits_for_is_not_begun(reader: Reader) -> None:
    text, passphrase = a_key(), "the last"
    slow = [asyncio.create_task(private_key(a_key(), f"one {n}")) for n in range(2)]
    await eventually(lambda: len(reader.begun) == 2)
    waiting = [asyncio.create_task(private_key(text, passphrase)) for _ in range(2)]
    gone = [asyncio.create_task(private_key(a_key(), f"gone {n}")) for n in range(2)]
    await asyncio.wait([*waiting, *gone], timeout=0)
    for one in (waiting[0], *gone):
        one.cancel()
    await asyncio.gather(waiting[0], *gone, return_exceptions=True)
    reader.let.set()
    await asyncio.gather(waiting[1], *slow)
    # Whoever comes again is not told that it was given up.
    await private_key(text, passphrase)
    assert sorted(map(str, reader.begun)) == ["one 0", "one 1", "the last"]


async def test_a_key_that_was_given_up_is_read_when_it_is_asked_for_again(reader: Reader) -> None:
    text = a_key()
    slow = [asyncio.create_task(private_key(a_key(), f"one {n}")) for n in range(2)]
    await eventually(lambda: len(reader.begun) == 2)
    gone = asyncio.create_task(private_key(text, "again"))
    await asyncio.wait([gone], timeout=0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    again = asyncio.create_task(private_key(text, "again"))
    reader.let.set()
    await asyncio.gather(again, *slow)


def a_key() -> str:
    """One that no other test has had read, and that tells no passphrase from another."""
    return asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
