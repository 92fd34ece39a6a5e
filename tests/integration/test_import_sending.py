"""Readings go to the intake many at once, and each device's in order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from adapters.embedded.nats import EmbeddedNats
from adapters.importing import sending
from adapters.importing.sending import Sender, together
from adapters.jetstream.streams import INTAKE
from domain.errors import InvalidInput
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
