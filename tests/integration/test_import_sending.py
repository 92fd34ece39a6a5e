"""Readings go to the intake many at once, and each device's in order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Struct

from adapters.embedded.nats import EmbeddedNats
from adapters.importing import sending
from adapters.importing.reading import digest
from adapters.importing.sending import Sender, together
from adapters.jetstream.streams import INTAKE
from domain.decisions import observed_event_id
from domain.errors import InvalidInput
from domain.ids import observation_id
from tests.rig import rig

START = datetime(2026, 1, 5, 6, tzinfo=UTC)


class Made(Struct, frozen=True):
    """A reading that is made up; without a size its file can't be read."""

    device_id: str
    collected_at: datetime
    size: int | None = 10
    platform: str | None = None
    author: str | None = None

    @property
    def where(self) -> str:
        return f"{self.device_id} at {self.collected_at:%H:%M}"

    def text(self) -> str:
        if self.size is None:
            raise InvalidInput("file", "can't be read")
        return f"{self.where}\n".ljust(self.size, "x")


def history(devices: str) -> list[Made]:
    """A reading a minute, of the devices in turn."""
    return [Made(name, START + timedelta(minutes=at)) for at, name in enumerate(devices)]


def test_of_one_device_only_one_reading_is_on_its_way() -> None:
    readings = history("abcabd")
    assert len(together(readings, 0)) == 3
    assert len(together(readings, 3)) == 3
    assert len(together(history("aab"), 0)) == 1


def test_neither_number_nor_size_of_what_is_read_ahead_is_without_bound() -> None:
    many = [Made(f"r{number}", START) for number in range(100)]
    assert len(together(many, 0)) == sending.AT_ONCE
    large = [Made(f"r{number}", START, sending.BYTES_AT_ONCE // 2) for number in range(5)]
    assert len(together(large, 0)) == 2


async def test_each_devices_readings_are_sent_in_order_and_once(
    nats_server: EmbeddedNats,
) -> None:
    async with rig(nats_server.url) as parts:
        readings = history("abacbcabbacddab" * 3)
        readings[4] = Made("b", readings[4].collected_at, None)
        known: dict[str, set[str]] = {name: set() for name in "abcd"}
        told: list[int] = []
        sender = Sender(parts.intake, parts.keyring, "acme")
        sent, refused = await sender.send(readings, known, told.append)
        assert [one.where for one in refused] == [readings[4].where]
        assert told == sorted(told)
        assert told[-1] == len(readings)
        kept = []
        for sequence in sorted(one.sequence for one in sent):
            message = await parts.js.get_msg(INTAKE, sequence)
            kept.append(json.loads(message.data or b""))
        for name in "abcd":
            times = [one["collected_at"] for one in kept if one["device_id"] == name]
            wanted = [one for one in readings if one.device_id == name and one.size is not None]
            assert times == [one.collected_at.isoformat() for one in wanted]
        assert await sender.send(readings, known, told.append) == ([], refused), (
            "nothing is sent again"
        )


class Said(Struct, frozen=True):
    """A reading of a device at a second, with a text."""

    said: str
    second: int = 0
    device_id: str = "r1"
    platform: str | None = None
    author: str | None = None

    @property
    def collected_at(self) -> datetime:
        return START + timedelta(seconds=self.second)

    @property
    def where(self) -> str:
        return self.said

    def text(self) -> str:
        if self.said == "?":
            raise InvalidInput("file", "can't be read")
        return f"/system identity\nset name={self.said}\n"


@pytest.mark.parametrize(
    ("texts", "microseconds"),
    [
        ("aba", {"a": [0, 1], "b": [0]}),
        ("ababc", {"a": [0, 1], "b": [0, 1], "c": [1]}),
        ("abaaca", {"a": [0, 1, 2], "b": [0], "c": [1]}),
        ("aab", {"a": [0], "b": [0]}),
        ("a?a", {"a": [0]}),
    ],
)
async def test_a_text_that_comes_back_within_its_second_is_a_reading_of_its_own(
    nats_server: EmbeddedNats, texts: str, microseconds: dict[str, list[int]]
) -> None:
    readings = [Said(one) for one in texts] + [Said("a", 1), Said("z", 1, "r2")]
    known: dict[str, set[str]] = {"r1": set(), "r2": set()}
    async with rig(nats_server.url) as parts:
        sender = Sender(parts.intake, parts.keyring, "acme")
        sent, _ = await sender.send(readings, known, lambda _: None)
        found: dict[str, list[int]] = {}
        times = []
        for one in sorted(sent, key=lambda one: one.sequence):
            message = await parts.js.get_msg(INTAKE, one.sequence)
            at = datetime.fromisoformat(json.loads(message.data or b"")["collected_at"])
            if one.reading.device_id == "r1":
                times.append(at)
                found.setdefault(one.reading.where, []).append(at.microsecond)
        assert times == sorted(times)
        assert found == {**microseconds, "a": [*microseconds["a"], 0]}
        assert (await sender.send(readings, known, lambda _: None))[0] == [], "sent again"


@pytest.mark.parametrize(
    ("texts", "added"), [("aba", "a"), ("abab", "ab"), ("abac", ""), ("abaab", "ab"), ("abc", "")]
)
async def test_what_an_older_rule_imported_is_never_imported_again(
    nats_server: EmbeddedNats, texts: str, added: str
) -> None:
    """What it left out is added, unless another text of that second would come before it then."""
    readings = [Said(one) for one in texts]
    async with rig(nats_server.url) as parts:
        key = (await parts.keyring.tenant("acme")).fingerprint_key
        ids = [
            observation_id(key, "acme", "r1", one.collected_at, digest(one.text()))
            for one in readings
        ]
        known = {"r1": {observed_event_id(one) for one in ids}}
        sender = Sender(parts.intake, parts.keyring, "acme")
        for wanted in (added, ""):
            sent, _ = await sender.send(readings, known, lambda _: None)
            assert "".join(one.reading.where for one in sent) == wanted
