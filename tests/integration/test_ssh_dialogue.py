"""Devices that only talk at a prompt: banners, echoes, pauses, and ends that do not come."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from adapters.ssh import dialogue
from adapters.ssh.connecting import Seen
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Credential, Limits, Target
from tests.doubles.routeros import RouterOSDouble, serving
from tests.doubles.terminal import CONFIG, Terminal, at_a_prompt

ENABLE = "the-password-of-enable"
PLAIN = CONFIG.replace(b"\r\n", b"\n") + b"\n"


async def read(terminal: Terminal, platform: str = "ios", enable: str | None = None) -> Reading:
    wanted = Target(
        name="core-1",
        addresses=("127.0.0.1",),
        port=terminal.port,
        credential=Credential(username="backup", enable=enable),
        limits=Limits(connect=5, silence=2, total=20),
    )
    return await read_device(wanted, platform, Seen())


async def test_the_answer_is_what_stands_between_the_echo_and_the_prompt() -> None:
    async with at_a_prompt(Terminal()) as terminal:
        found = await read(terminal)
    assert found.text.encode() == PLAIN
    assert terminal.typed == [b"terminal length 0", b"terminal width 0", b"show running-config"]


@pytest.mark.parametrize(
    "wipe", [b"\r         \r", b"\x08" * 8 + b" " * 8 + b"\x08" * 8, b"\r\x1b[K"]
)
async def test_pauses_leave_no_trace(wipe: bytes) -> None:
    async with at_a_prompt(Terminal(page=20, wipe=wipe)) as terminal:
        found = await read(terminal, "fortios")
    assert found.text.encode() == PLAIN
    assert terminal.typed == [b"show full-configuration"]


@pytest.mark.parametrize(
    ("terminal", "kind"),
    [
        (Terminal(config=CONFIG[:-10]), "incomplete"),
        (Terminal(config=b"% Invalid input detected at '^' marker."), "command_refused"),
        (Terminal(hangs=True), "timeout"),
    ],
)
async def test_what_does_not_come_to_its_end_is_a_failure(terminal: Terminal, kind: str) -> None:
    async with at_a_prompt(terminal):
        with pytest.raises(DeviceUnread) as failed:
            await read(terminal)
    assert failed.value.kind == kind


@pytest.mark.parametrize("asked", [b"", b"enable", b"terminal length 0"])
async def test_lines_without_end_are_a_failure_and_only_the_last_one_is_looked_at(
    asked: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    clean = dialogue._clean

    def counted(raw: bytes) -> bytes:
        looked_at.append(len(raw))
        return clean(raw)

    monkeypatch.setattr(dialogue, "_clean", counted)
    async with at_a_prompt(Terminal(floods=asked, enable=ENABLE.encode())) as terminal:
        with pytest.raises(DeviceUnread) as failed:
            await read(terminal, enable=ENABLE)
    assert failed.value.kind == "too_large"
    assert max(looked_at) <= 4096


async def test_a_long_banner_without_an_end_of_line_is_no_prompt() -> None:
    banner = b"*" * 5000 + b"#\r\n" + b"x" * 5000 + b">"
    async with at_a_prompt(Terminal(banner=banner + b"\r\n")) as terminal:
        found = await read(terminal)
    assert found.text.encode() == PLAIN


BANNER = b"""\r
*******************************************************\r
* core-1#  is for the staff of Example only           *\r
* Password: you know it, or you leave>                *\r
*******************************************************\r
core-1>\r
\r
"""


_WIPED = b"\x08" * 10 + b" " * 10 + b"\x08" * 10


@pytest.mark.parametrize("platform", ["ios", "eos", "vtysh", "fortios"])
@pytest.mark.parametrize(
    "terminal",
    [
        Terminal(banner=BANNER),
        Terminal(in_pieces=True),
        Terminal(page=24, stubborn=True),
        Terminal(page=24, stubborn=True, pause=b" --More-- ", wipe=_WIPED),
        Terminal(page=10, stubborn=True, pause=b"---(more 12%)---", wipe=b"\r\x1b[K"),
        Terminal(dressed=b"\r\n\x1b[1m%s\x1b[0m "),
        Terminal(dressed=b"\x1b]0;core-1\x07\x1b[?2004h%s "),
    ],
)
async def test_dialogues_of_all_manners_give_the_same_text(
    terminal: Terminal, platform: str
) -> None:
    if platform == "eos":
        # EOS is asked by a command of its own unless it must be enabled.
        terminal = replace(terminal, enable=ENABLE.encode(), typed=[])
    async with at_a_prompt(terminal):
        found = await read(terminal, platform, ENABLE if platform == "eos" else None)
    assert found.text.encode() == PLAIN


@pytest.mark.parametrize("platform", ["ios", "eos"])
@pytest.mark.parametrize("banner", [b"", BANNER])
async def test_the_privileged_mode_is_entered_with_its_own_password(
    platform: str, banner: bytes
) -> None:
    async with at_a_prompt(Terminal(enable=ENABLE.encode(), banner=banner)) as terminal:
        found = await read(terminal, platform, ENABLE)
    assert found.text.encode() == PLAIN
    assert terminal.typed[0] == b"enable"


async def test_no_password_is_sent_to_who_does_not_ask_for_one() -> None:
    async with at_a_prompt(Terminal()) as terminal:
        await read(terminal, "ios", ENABLE)
    assert terminal.typed == [b"terminal length 0", b"terminal width 0", b"show running-config"]


async def test_a_wrong_password_of_enable_waits_for_a_person_and_is_tried_once() -> None:
    async with at_a_prompt(Terminal(enable=b"another")) as terminal:
        with pytest.raises(DeviceUnread) as failed:
            await read(terminal, "ios", ENABLE)
    assert failed.value.kind == "auth_failed"
    assert ENABLE not in str(failed.value)
    assert terminal.typed == [b"enable"]


async def test_a_login_without_privileges_is_refused_the_configuration() -> None:
    async with at_a_prompt(Terminal(enable=ENABLE.encode())) as terminal:
        with pytest.raises(DeviceUnread) as failed:
            await read(terminal)
    assert failed.value.kind == "command_refused"


async def test_a_connection_that_ends_within_the_answer_is_a_failure() -> None:
    async with at_a_prompt(Terminal(hangs_up=True)) as terminal:
        with pytest.raises(DeviceUnread) as failed:
            await read(terminal)
    assert failed.value.kind == "connection_lost"


# The library of the weak exchanges says of them what we do.
@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")
@pytest.mark.parametrize(
    "weak",
    [
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"kex_algs": ["diffie-hellman-group1-sha1"]},
        {"encryption_algs": ["aes128-cbc"]},
    ],
)
async def test_weak_algorithms_are_used_only_where_the_inventory_says_so(
    weak: dict[str, list[str]],
) -> None:
    double = RouterOSDouble()
    async with serving(double, **weak):
        wanted = Target(
            name="old",
            addresses=("127.0.0.1",),
            port=double.port,
            credential=Credential(username="backup", password=double.password),
        )
        with pytest.raises(DeviceUnread) as failed:
            await read_device(wanted, "routeros", Seen())
        assert failed.value.kind == "protocol"
        assert "legacy" in failed.value.reason
        assert double.passwords == []
        old = structs.replace(wanted, legacy=True)
        assert (await read_device(old, "routeros", Seen())).text == double.export
