"""Syslog: devices that tell of a change are collected once they rest; strangers are not heard."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.observability.metrics import Metrics
from adapters.roles.supervisor import running
from adapters.roles.syslog import SyslogListener, relay_networks
from adapters.syslog.connections import MOST, Connections
from adapters.syslog.messages import Framer, Message, parse
from adapters.syslog.senders import Key, Senders
from domain.errors import InvalidInput
from domain.events import DeviceSettings
from tests.support import eventually


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"system,info filter rule added by admin", Message(None, True)),
        (
            b"<30>system,info device changed by winbox-3.41/tcp-msg(winbox):admin@192.0.2.9 "
            b"(/ip address set)",
            Message(None, True),
        ),
        (b"system,info,account user admin logged in from 192.0.2.9 via ssh", Message(None, False)),
        (b"<30>Mar  1 12:00:00 r1 system,info nat rule changed by admin", Message("r1", True)),
        (
            b"<189>Mar  1 12:00:00 core.example.net %SYS-5-CONFIG_I: Configured from console",
            Message("core.example.net", True),
        ),
        (b"<189>1 2026-03-01T12:00:00Z r1 mgd 1 UI_COMMIT - User commits", Message("r1", True)),
        (b"<189>1 2026-03-01T12:00:00Z r1 mgd 1 - - UI_COMMIT: User 'a'", Message("r1", True)),
        (b"<189>1 2026-03-01T12:00:00Z - mgd 1 - - nothing", Message(None, False)),
        (
            b"<29>Mar  1 12:00:00 r1 commit: Successful change to active configuration by user a",
            Message("r1", True),
        ),
        (b"<29>Mar  1 12:00:00 r1 active configuration, recommit: commit", Message("r1", False)),
        (b"", Message(None, False)),
    ],
)
def test_what_messages_say(raw: bytes, message: Message) -> None:
    assert parse(raw) == message


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_message(raw: bytes) -> None:
    parse(raw)


@given(st.lists(st.binary(min_size=1, max_size=40)), st.integers(1, 7))
def test_counted_messages_come_out_as_they_went_in(messages: list[bytes], step: int) -> None:
    stream = b"".join(b"%d %s" % (len(one), one) for one in messages)
    framer = Framer()
    found: list[bytes] = []
    for start in range(0, len(stream), step):
        found += framer.feed(stream[start : start + step])
    assert found == messages


def test_lines_are_messages_and_endless_ones_are_refused() -> None:
    framer = Framer()
    assert framer.feed(b"<30>one\n\n<30>tw") == [b"<30>one"]
    assert framer.feed(b"o\n") == [b"<30>two"]
    with pytest.raises(ValueError, match="too long"):
        framer.feed(b"<" * 10_000)
    with pytest.raises(ValueError, match="too long"):
        Framer().feed(b"99999 x")


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

DEVICES: dict[Key, DeviceSettings] = {
    ("acme", "r1"): DeviceSettings(addresses=("127.0.0.1",)),
    ("acme", "r3"): DeviceSettings(addresses=("127.0.0.3",)),
    ("acme", "r2.example.net"): DeviceSettings(addresses=("192.0.2.2",)),
    ("globex", "r1"): DeviceSettings(addresses=("192.0.2.1",)),
}


async def test_senders_are_known_by_address_and_relays_by_the_name_they_tell() -> None:
    senders = Senders(lambda: DEVICES, [ipaddress.ip_network("198.51.100.0/24")])
    await senders.refresh()
    assert senders.find("192.0.2.1", None) == {("globex", "r1")}
    assert senders.find("::ffff:192.0.2.1", "r2") == {("globex", "r1")}
    assert senders.find("198.51.100.7", "R2") == {("acme", "r2.example.net")}
    assert senders.find("198.51.100.7", None) == set()
    assert senders.find("203.0.113.1", "r1") == set()


@asynccontextmanager
async def listening(
    hurried: list[Key],
    heard: list[Key] | None = None,
    *,
    quiet: float = 0.05,
    longest: float = 30,
    connections: Connections | None = None,
) -> AsyncIterator[tuple[int, Metrics]]:
    def hurry(tenant: str, device: str) -> bool:
        hurried.append((tenant, device))
        return True

    heard = [] if heard is None else heard
    metrics = Metrics()
    senders = Senders(lambda: DEVICES, [])
    await senders.refresh()
    listener = SyslogListener(
        "127.0.0.1:0",
        senders=senders,
        hear=lambda *key: heard.append(key),
        hurry=hurry,
        metrics=metrics,
        quiet=quiet,
        longest=longest,
        connections=connections,
    )
    listener.started = asyncio.get_running_loop().create_future()
    async with running({"syslog": listener.run}):
        yield await listener.started, metrics


async def test_a_burst_over_udp_and_tcp_is_one_collection() -> None:
    hurried: list[Key] = []
    async with listening(hurried) as (port, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(20):
                sender.sendto(b"system,info filter rule added by admin", ("127.0.0.1", port))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"<30>Mar  1 12:00:00 r1 system,info item changed by admin\n" * 20)
        await writer.drain()
        await eventually(lambda: hurried)
        writer.close()
    assert hurried == [("acme", "r1")]


async def test_a_device_that_never_rests_is_collected_all_the_same() -> None:
    hurried: list[Key] = []
    heard: list[Key] = []
    async with listening(hurried, heard, quiet=30, longest=0.2) as (port, _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"system,info filter rule added by admin", ("127.0.0.1", port))
            await eventually(lambda: hurried)
    assert heard == hurried


@pytest.mark.parametrize(
    ("source", "claimed", "found"),
    [
        # An address of a device: the name may choose among its devices, and claim no other.
        ("192.0.2.2", "r1", {("acme", "r2.example.net")}),
        ("192.0.2.1", "r2.example.net", {("globex", "r1")}),
        ("::ffff:192.0.2.2", None, {("acme", "r2.example.net")}),
        ("192.0.2.2%eth0", "r2", {("acme", "r2.example.net")}),
        # No device and no relay: a name is not enough, nor is the address written into it.
        ("203.0.113.1", "192.0.2.1", set()),
        ("203.0.113.1", "r2.example.net", set()),
        ("::1", "r1", set()),
        # A relay tells names, and none that are nobody's.
        ("198.51.100.7", "192.0.2.2", {("acme", "r2.example.net")}),
        ("198.51.100.7", "nobody", set()),
        ("::ffff:198.51.100.7", "r2", {("acme", "r2.example.net")}),
    ],
)
async def test_a_message_moves_no_device_that_its_source_may_not_speak_for(
    source: str, claimed: str | None, found: set[Key]
) -> None:
    senders = Senders(lambda: DEVICES, [ipaddress.ip_network("198.51.100.0/24")])
    await senders.refresh()
    assert senders.find(source, claimed) == found


async def test_a_stranger_that_claims_a_devices_name_over_udp_or_tcp_moves_nothing() -> None:
    hurried: list[Key] = []
    claimed = b"<30>Mar  1 12:00:00 r1 system,info filter rule added by admin"
    async with listening(hurried) as (port, metrics):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.9", 0))
            sender.sendto(claimed, ("127.0.0.1", port))
        reader, writer = await connected(port, "127.0.0.9")
        unknown = metrics.syslog_messages.labels("unknown sender")
        await eventually(lambda: unknown._value.get() == 2)
        assert await reader.read() == b""
        writer.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(claimed, ("127.0.0.1", port))
        await eventually(lambda: hurried)
    assert hurried == [("acme", "r1")]


async def connected(port: int, source: str) -> Connection:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def test_what_is_too_long_ends_the_connection_and_only_that() -> None:
    hurried: list[Key] = []
    async with listening(hurried) as (port, _):
        reader, writer = await connected(port, "127.0.0.1")
        _, still_open = await connected(port, "127.0.0.1")
        writer.write(b"99999 x")
        assert await reader.read() == b""
        still_open.write(b"system,info filter rule added by admin\n")
        await eventually(lambda: hurried)
        for one in (writer, still_open):
            one.close()


async def test_strangers_take_no_place_of_devices() -> None:
    hurried: list[Key] = []
    async with listening(hurried) as (port, _):
        strangers = [await connected(port, "127.0.0.9") for _ in range(MOST + 1)]
        for reader, _ in strangers:
            assert await reader.read() == b""
        _, writer = await connected(port, "127.0.0.1")
        writer.write(b"system,info filter rule added by admin\n")
        await eventually(lambda: hurried)
        for one in (writer, *(stranger for _, stranger in strangers)):
            one.close()


async def test_of_too_many_connections_the_one_that_was_quiet_longest_gives_way() -> None:
    hurried: list[Key] = []
    async with listening(hurried, connections=Connections(3, 2)) as (port, metrics):
        no_change = metrics.syslog_messages.labels("no change")
        talks, quiet = [await connected(port, "127.0.0.1") for _ in range(2)]
        talks[1].write(b"system,info user admin logged in\n")
        await eventually(lambda: no_change._value.get() == 1)
        third = await connected(port, "127.0.0.1")  # one too many of this device
        assert await quiet[0].read() == b""
        others = [await connected(port, "127.0.0.3") for _ in range(2)]  # one too many in all
        assert await talks[0].read() == b""
        for _, writer in (third, *others):
            writer.write(b"system,info user admin logged in\n")
        await eventually(lambda: no_change._value.get() == 4)
        for _, writer in (talks, quiet, third, *others):
            writer.close()


async def test_strangers_are_counted_and_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what they send read: that would cost whoever sends little, and us much."""
    monkeypatch.setattr("adapters.roles.syslog.parse", lambda raw: pytest.fail("it was read"))
    hurried: list[Key] = []
    async with listening(hurried) as (port, metrics):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.9", 0))
            sender.sendto(b"system,info filter rule added by admin", ("127.0.0.1", port))
        unknown = metrics.syslog_messages.labels("unknown sender")
        await eventually(lambda: unknown._value.get() == 1)
    assert hurried == []


def test_wrong_settings_are_told() -> None:
    assert relay_networks("192.0.2.0/24, 2001:db8::/32")
    with pytest.raises(InvalidInput):
        relay_networks("everybody")
    with pytest.raises(InvalidInput):
        SyslogListener(
            "here",
            senders=Senders(dict, []),
            hear=lambda *_: None,
            hurry=lambda *_: True,
            metrics=Metrics(),
        )
