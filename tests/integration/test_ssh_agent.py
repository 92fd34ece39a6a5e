"""Logging in with the keys of a real `ssh-agent`. Skipped, with a message, where OpenSSH's client
is not installed."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
from asyncssh import SSHKey

from adapters.ssh.connecting import Seen
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Credential, Limits, Target
from tests.doubles.routeros import RouterOSDouble, serving
from tests.support import eventually

SSH_AGENT, SSH_ADD = shutil.which("ssh-agent"), shutil.which("ssh-add")

pytestmark = pytest.mark.skipif(
    SSH_AGENT is None or SSH_ADD is None, reason="Debian's openssh-client is not installed"
)


class Agent:
    """A running agent."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "agent"
        self._folder = folder

    async def add(self, key: SSHKey) -> None:
        """Give it a key."""
        path = self._folder / "key"
        path.touch(0o600)
        path.write_bytes(key.export_private_key("openssh"))
        await self.told(str(path))
        path.unlink()

    async def told(self, *words: str) -> None:
        assert SSH_ADD is not None
        process = await asyncio.create_subprocess_exec(
            SSH_ADD,
            "-q",
            *words,
            env={"SSH_AUTH_SOCK": str(self.socket)},
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    assert SSH_AGENT is not None
    # Not pytest's folder: the path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="configtrail-agent-") as name:
        found = Agent(Path(name))
        process = await asyncio.create_subprocess_exec(
            *(SSH_AGENT, "-D", "-a", str(found.socket)), stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await eventually(found.socket.exists)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(found.socket))
            yield found
        finally:
            process.terminate()
            await process.wait()


async def read(double: RouterOSDouble) -> Reading:
    wanted = Target(
        name="r1",
        addresses=("127.0.0.1",),
        port=double.port,
        credential=Credential(username="backup", agent=True),
        limits=Limits(connect=10, silence=5, total=30),
    )
    return await read_device(wanted, "routeros", Seen())


async def refused(double: RouterOSDouble) -> tuple[str, str]:
    with pytest.raises(DeviceUnread) as failed:
        await read(double)
    return failed.value.kind, failed.value.reason


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
async def test_a_key_of_the_agent_logs_in(agent: Agent, algorithm: str) -> None:
    other, key = (asyncssh.generate_private_key(one) for one in ("ssh-ed25519", algorithm))
    await agent.add(other)
    await agent.add(key)
    async with serving(RouterOSDouble(authorized_key=key.convert_to_public())) as double:
        assert (await read(double)).text == double.export
    assert double.passwords == []


async def test_a_key_that_the_device_does_not_know_is_a_refused_login(agent: Agent) -> None:
    await agent.add(asyncssh.generate_private_key("ssh-ed25519"))
    known = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    async with serving(RouterOSDouble(authorized_key=known)) as double:
        assert (await refused(double))[0] == "auth_failed"


async def test_an_agent_without_keys_or_none_at_all_is_told_as_such(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(RouterOSDouble()) as double:
        kind, reason = await refused(double)
        assert (kind, "ssh-add" in reason) == ("no_credential", True)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.socket.parent / "nothing"))
        kind, reason = await refused(double)
        assert (kind, "nobody answers" in reason) == ("no_credential", True)
        monkeypatch.delenv("SSH_AUTH_SOCK")
        kind, reason = await refused(double)
        assert (kind, "is not set" in reason) == ("no_credential", True)
    assert double.logins == []
