"""Real parts: OpenSSH's server with forced commands, and FRR's vtysh as a device that talks at a
prompt. Skipped, with a message, where Debian's packages are not installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from adapters.embedded.process import free_port
from adapters.ssh.connecting import Seen
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.jumping import JumpHosts
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Credential, Limits, Target
from tests.doubles.routeros import RouterOSDouble, serving
from tests.support import eventually

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
VTYSH = shutil.which("vtysh", path="/usr/bin:/usr/sbin:/usr/lib/frr")
ZEBRA = Path("/usr/lib/frr/zebra")
ME = pwd.getpwuid(os.geteuid()).pw_name

needs_sshd = pytest.mark.skipif(SSHD is None, reason="Debian's openssh-server is not installed")
needs_frr = pytest.mark.skipif(
    VTYSH is None or not ZEBRA.exists() or os.geteuid() != 0,
    reason="Debian's frr is not installed, or we are not root (zebra must be started as it)",
)


def configured(folder: Path, forced: str, port: int) -> str:
    """Write what sshd needs; returns the private key of a login."""
    folder.mkdir()
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    (folder / "host").write_bytes(host.export_private_key())
    (folder / "host").chmod(0o600)
    (folder / "authorized").write_bytes(user.export_public_key())
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nPidFile none\n"
        f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nForceCommand {forced}\n"
        f"PermitRootLogin yes\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # its separation of privileges wants it
    return user.export_private_key().decode()


@asynccontextmanager
async def sshd(folder: Path, forced: str) -> AsyncIterator[tuple[int, str]]:
    """OpenSSH's server, which runs `forced` whatever is asked for; its port, and a login's key."""
    assert SSHD is not None
    port = free_port()
    key = configured(folder, forced, port)
    process = await asyncio.create_subprocess_exec(
        SSHD, "-D", "-e", "-f", str(folder / "config"), stderr=asyncio.subprocess.DEVNULL
    )

    async def listening() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.returncode is None, "sshd did not start"
            return False
        writer.close()
        return True

    try:
        await eventually(listening)
        yield port, key
    finally:
        process.terminate()
        await process.wait()


async def read(port: int, key: str, platform: str, *, silence: float = 5) -> Reading:
    wanted = Target(
        name="device",
        addresses=("127.0.0.1",),
        port=port,
        credential=Credential(username=ME, private_key=key),
        limits=Limits(connect=10, silence=silence, total=30),
    )
    return await read_device(wanted, platform, Seen())


async def read_behind(number: int, gate: Target, port: int, jump_hosts: JumpHosts) -> str:
    wanted = Target(
        name=f"r{number}",
        addresses=("127.0.0.1",),
        port=port,
        credential=Credential(username=f"r{number}", password="correct horse"),
        via=gate,
    )
    jumping = partial(jump_hosts.trying, tenant_id="acme", insists=False)
    return (await read_device(wanted, "routeros", Seen(), jumping=jumping)).text


def script(folder: Path, text: str) -> str:
    path = folder / "forced.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@needs_sshd
async def test_a_forced_command_is_read_whole(tmp_path: Path) -> None:
    forced = script(tmp_path, "yes 'access-list 1 permit any' | head -n 100000; echo end")
    async with sshd(tmp_path / "sshd", forced) as (port, key):
        found = await read(port, key, "frr")
    assert found.text == "access-list 1 permit any\n" * 100_000 + "end\n"
    assert found.platform == "frr"


@needs_sshd
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("echo 'interface lo'", "incomplete"),
        ("echo 'interface lo'; echo end; exit 3", "incomplete"),
        ("echo '% Unknown command: show'", "command_refused"),
        ("printf '\\n'", "incomplete"),
        ("echo 'interface lo'; sleep 60", "timeout"),
    ],
)
async def test_what_does_not_come_to_its_end_is_a_failure(
    tmp_path: Path, text: str, kind: str
) -> None:
    async with sshd(tmp_path / "sshd", script(tmp_path, text)) as (port, key):
        with pytest.raises(DeviceUnread) as failed:
            await read(port, key, "frr", silence=1)
    assert failed.value.kind == kind


@needs_sshd
async def test_a_shell_proves_the_end_with_a_word(tmp_path: Path) -> None:
    forced = script(tmp_path, "uci() { echo 'package network'; }; eval \"$SSH_ORIGINAL_COMMAND\"")
    async with sshd(tmp_path / "sshd", forced) as (port, key):
        assert (await read(port, key, "openwrt")).text == "package network\n"


@needs_sshd
async def test_a_fleet_behind_a_server_of_few_logins_at_once_is_read(tmp_path: Path) -> None:
    """By its defaults it drops some of the logins when the 11th begins."""
    async with (
        sshd(tmp_path / "sshd", "/bin/false") as (port, key),
        serving(RouterOSDouble()) as double,
    ):
        gate = Target(
            name="gate",
            addresses=("127.0.0.1",),
            port=port,
            credential=Credential(username=ME, private_key=key),
        )
        jump_hosts = JumpHosts()
        reading = [read_behind(number, gate, double.port, jump_hosts) for number in range(60)]
        assert await asyncio.gather(*reading) == [double.export] * 60


def zebra_configured(folder: Path) -> None:
    """Write what zebra needs."""
    folder.mkdir()
    shutil.chown(folder, "frr", "frr")
    (folder / "zebra.conf").write_text("hostname border\ninterface lo\n description to nowhere\n")


@asynccontextmanager
async def frr(folder: Path) -> AsyncIterator[Path]:
    """FRR's zebra, with a socket for vtysh in a folder of its own."""
    zebra_configured(folder)
    told = folder / "told"
    with told.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(ZEBRA),
            *("-f", str(folder / "zebra.conf"), "-i", str(folder / "zebra.pid")),
            *("-z", str(folder / "zserv.api"), "--vty_socket", str(folder), "-P", "0"),
            stdout=output,
            stderr=output,
        )

    async def answers() -> bool:
        assert process.returncode is None, f"zebra did not start: {told.read_text()}"
        assert VTYSH is not None
        asked = await asyncio.create_subprocess_exec(
            *(VTYSH, "--vty_socket", str(folder), "-c", "show version"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return await asked.wait() == 0

    try:
        await eventually(answers)
        yield folder
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@needs_sshd
@needs_frr
@pytest.mark.parametrize("platform", ["frr", "vtysh"])
async def test_a_router_of_frr_is_read_by_command_and_at_its_prompt(
    tmp_path: Path, platform: str
) -> None:
    async with frr(tmp_path / "frr") as socket:
        shell = f"exec {VTYSH} --vty_socket {socket}"
        text = f'test -z "$SSH_ORIGINAL_COMMAND" && {shell}\n{shell} -c "show running-config"'
        async with sshd(tmp_path / "sshd", script(tmp_path, text)) as (port, key):
            found = await read(port, key, platform)
    assert found.platform == "frr"
    assert "\ninterface lo\n description to nowhere\n" in found.text
    assert found.text.endswith("end\n")
    assert "\x1b" not in found.text
