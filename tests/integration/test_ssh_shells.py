"""Junos, VyOS and OpenWrt: asked by one command, or at a prompt where they take none without it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.ssh.connecting import Seen
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Credential, Limits, Target
from tests.doubles.terminal import Terminal, at_a_prompt

_BLOCKS = b"\r\n".join(
    b'interfaces ge-0/0/%d {\r\n    description "to # or r1> or ann@r1>";\r\n}' % number
    for number in range(30)
)
JUNOS = Terminal(
    config=b"## Last commit: 2026-03-01 12:00:00 UTC by ann\r\nversion 22.4R1;\r\n" + _BLOCKS,
    name=b"ann@r1",
    mark=b"> ",
    banner=b"\r\n--- JUNOS 22.4R1 Kernel 64-bit\r\nstaff of r1 only>\r\nann@r1>\r\n\r\n",
    above=b"\r\n{master:0}\r\n",
    pause=b"---(more 12%)---",
    wipe=b"\r\x1b[K",
    calms=b"set cli",
    refusal=b"                     ^\r\nunknown command.\r\n",
)
VYOS = Terminal(
    config=b"\r\n".join(
        b"set interfaces ethernet eth%d description 'to # or > or vyos@r1:~$'" % number
        for number in range(60)
    ),
    name=b"vyos@r1:~",
    mark=b"$ ",
    banner=b"Welcome to VyOS!\r\n\r\nvyos@r1:~$\r\n   check >\r\n",
    dressed=b"\x1b]0;vyos@r1\x07\x1b[?2004h%s",
    shows=b"/opt/vyatta/bin/vyatta-op-cmd-wrapper show configuration commands",
    calms=b"set terminal",
    refusal=b"\r\n  Invalid command: [show]\r\n\r\n-vbash: command not found\r\n",
)
OPENWRT = Terminal(
    config=b"\r\n".join(
        b"config rule 'r%d'\r\n\toption name 'root@OpenWrt:~# no prompt'\r\n" % number
        for number in range(60)
    ),
    name=b"root@OpenWrt:~",
    mark=b"# ",
    banner=b"\r\nBusyBox v1.36.1 built-in shell (ash)\r\n -----------\r\n OpenWrt #\r\n\r\n",
    dressed=b"\x1b]0;root@OpenWrt: ~\x07%s",
    shows=b"uci export",
    refusal=b"-ash: uci: not found\r\n",
)
MAKES = {"junos": JUNOS, "vyos": VYOS, "openwrt": OPENWRT}

makes = pytest.mark.parametrize("make", MAKES)
ways = pytest.mark.parametrize("takes_commands", [True, False], ids=["a command", "a prompt"])


def text_of(terminal: Terminal) -> bytes:
    return terminal.config.replace(b"\r\n", b"\n").rstrip() + b"\n"


async def read(terminal: Terminal, make: str, silence: float = 2) -> Reading:
    async with at_a_prompt(terminal):
        wanted = Target(
            name="r1",
            addresses=("127.0.0.1",),
            port=terminal.port,
            credential=Credential(username="backup"),
            limits=Limits(connect=5, silence=silence, total=20),
        )
        return await read_device(wanted, make, Seen())


def device(make: str, **given: object) -> Terminal:
    return replace(MAKES[make], typed=[], **given)  # type: ignore[arg-type]


@makes
@ways
async def test_the_whole_configuration_comes_and_nothing_else(
    make: str, takes_commands: bool
) -> None:
    terminal = device(make, takes_commands=takes_commands)
    found = await read(terminal, make)
    assert found.text.encode() == text_of(terminal)
    assert found.platform == make
    asked = [line for line in terminal.typed if line.startswith(terminal.shows)]
    assert len(asked) == 1
    assert len(terminal.typed) == 1 or not takes_commands


@makes
@pytest.mark.parametrize(
    "manner",
    [
        {"in_pieces": True, "page": 0},
        {"slow": 0.4},
        {"page": 20},
        {"above": b"\r\n\r\n"},
        {"dressed": b"\r\n\x1b[1;32m%s\x1b[0m\x1b[K"},
        {"banner": b""},
    ],
    ids=["slow pieces", "slow prompts", "pages", "empty lines", "colours", "no banner"],
)
async def test_dialogues_of_all_manners_give_the_same_text(
    make: str, manner: dict[str, object]
) -> None:
    if "page" in manner and make == "openwrt":
        manner = {**manner, "page": 0}  # a shell without pauses
    if "in_pieces" in manner:
        manner = {**manner, "config": MAKES[make].config[:90].rsplit(b"\r\n", 1)[0]}
        if make == "junos":
            manner = {**manner, "config": b"version 22.4R1;"}
    terminal = device(make, **manner)
    assert (await read(terminal, make)).text.encode() == text_of(terminal)


async def test_pages_that_can_not_be_turned_off_leave_no_trace_at_a_prompt_of_junos() -> None:
    terminal = device("junos", page=20, stubborn=True)
    assert (await read(terminal, "junos")).text.encode() == text_of(terminal)


@makes
@ways
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"hangs_up": True}, "connection_lost"),
        ({"hangs": True}, "timeout"),
        ({"shows": b"nothing"}, "command_refused"),
    ],
    ids=["hangs up", "hangs", "refuses"],
)
async def test_what_does_not_come_to_its_end_is_a_failure(
    make: str, takes_commands: bool, fault: dict[str, object], kind: str
) -> None:
    terminal = device(make, takes_commands=takes_commands, **fault)
    with pytest.raises(DeviceUnread) as failed:
        await read(terminal, make, silence=1)
    # Where a shell ends without a word, what came tells that it was not all.
    assert failed.value.kind in (kind, "incomplete")
    assert b"description" not in str(failed.value).encode()
    if "hangs_up" not in fault:
        assert failed.value.kind == kind


async def test_a_configuration_of_junos_that_breaks_off_with_status_0_is_incomplete() -> None:
    for takes_commands in (True, False):
        cut = device("junos", config=JUNOS.config[:-40], takes_commands=takes_commands)
        with pytest.raises(DeviceUnread) as failed:
            await read(cut, "junos")
        assert failed.value.kind == "incomplete"


@makes
async def test_what_is_written_on_the_standard_error_is_no_configuration(make: str) -> None:
    terminal = device(
        make, takes_commands=True, errors=b"Warning: Permanently added\r\nlicence expires\r\n"
    )
    assert (await read(terminal, make)).text.encode() == text_of(terminal)


async def test_a_status_that_is_none_counts_as_none_and_another_as_a_failure() -> None:
    quiet = device("openwrt", takes_commands=True, status=None)
    assert (await read(quiet, "openwrt")).text.encode() == text_of(quiet)
    failing = device("openwrt", takes_commands=True, status=2)
    with pytest.raises(DeviceUnread, match="ended with status 2") as failed:
        await read(failing, "openwrt")
    assert failed.value.kind == "incomplete"
