"""The fleet's history as messages in the order of their arrival, and what must come of them.

Everything is the same at every call: devices, texts, times. So a second play tells nothing new.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache

from msgspec import Struct

from adapters.demo.devices import DEVICES, DeviceHistory
from adapters.demo.export import render

TENANT = "demo"
SHOWN = "edge-berlin"
FIRST_DAY = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
_REDELIVERED = ("lab-chr", 1)
_BROKEN_DEVICE = "edge-hamburg"
_BROKEN_AT = FIRST_DAY + timedelta(days=3, hours=8)


class Reading(Struct, frozen=True, kw_only=True):
    """One reading of a device; `shows` says what it is for, `index` which of the device's it is."""

    device_id: str
    index: int
    collected_at: datetime
    arrives_at: datetime
    text: str
    shows: str


class Broken(Struct, frozen=True, kw_only=True):
    """A message whose hash is not its text's. `field` is what its dead letter must name."""

    device_id: str
    arrives_at: datetime
    body: bytes
    field: str = "sha256_hash"
    shows: str = "a broken message: its hash is not its text's"


Delivery = Reading | Broken


class Expected(Struct, frozen=True, kw_only=True):
    """What must be known of a device once its history is played.

    `began` are the readings that begin a configuration, in time order: each is a snapshot, the
    last of them the current one. `late` and `partial` are among them.
    """

    device_id: str
    began: tuple[Reading, ...]
    newest: Reading
    confirmations: int
    diffs: int
    late: Reading | None
    partial: Reading | None

    @property
    def snapshots(self) -> int:
        """How many snapshots there must be."""
        return len(self.began)

    @property
    def current(self) -> Reading:
        """The reading whose text is the current configuration."""
        return self.began[-1]


class Fleet(Struct, frozen=True, kw_only=True):
    """Every message in the order of arrival, and what must come of them."""

    deliveries: tuple[Delivery, ...]
    expected: tuple[Expected, ...]
    broken: Broken

    def of(self, device_id: str) -> Expected:
        """What must be known of one device."""
        return next(one for one in self.expected if one.device_id == device_id)


@cache
def fleet() -> Fleet:
    """The made-up fleet."""
    readings = {
        history.device_id: _readings(history, timedelta(minutes=7 * number))
        for number, history in enumerate(DEVICES)
    }
    broken = _broken(readings[_BROKEN_DEVICE][0].text)
    device_id, index = _REDELIVERED
    again = readings[device_id][index]
    arriving: list[tuple[datetime, Delivery]] = [
        (reading.arrives_at, reading) for each in readings.values() for reading in each
    ]
    arriving += [(broken.arrives_at, broken), (again.arrives_at + timedelta(hours=1), again)]
    arriving.sort(key=lambda one: one[0])
    return Fleet(
        deliveries=tuple(delivery for _, delivery in arriving),
        expected=tuple(_expected(history, readings[history.device_id]) for history in DEVICES),
        broken=broken,
    )


def _readings(history: DeviceHistory, offset: timedelta) -> tuple[Reading, ...]:
    text = history.first
    found = []
    for index, step in enumerate(history.steps):
        for edit in step.edits:
            if text.count(edit.old) != 1:
                raise ValueError(f"{history.device_id}: {edit.old!r} must occur exactly once")
            text = text.replace(edit.old, edit.new)
        collected_at = FIRST_DAY + timedelta(days=index) + offset
        found.append(
            Reading(
                device_id=history.device_id,
                index=index,
                collected_at=collected_at,
                arrives_at=collected_at + step.delay,
                text=render(
                    tuple(text.splitlines()),
                    history.form,
                    collected_at,
                    width=step.width,
                    notes=step.notes,
                    unread=step.unread,
                ),
                shows=step.shows,
            )
        )
    return tuple(found)


def _expected(history: DeviceHistory, readings: tuple[Reading, ...]) -> Expected:
    began = tuple(readings[index] for index in history.new)
    late = next((one for one in began if one.arrives_at != one.collected_at), None)
    return Expected(
        device_id=history.device_id,
        began=began,
        newest=readings[-1],
        confirmations=len(readings) - len(began),
        # One between neighbours; the neighbours of a late one had theirs before it came.
        diffs=len(began) - 1 + (late is not None),
        late=late,
        partial=next((one for one in began if history.steps[one.index].unread), None),
    )


def _broken(text: str) -> Broken:
    message = {
        "device_id": _BROKEN_DEVICE,
        "tenant_id": TENANT,
        "sha256_hash": hashlib.sha256(b"another text").hexdigest(),
        "config_text": text,
        "collected_at": _BROKEN_AT.isoformat(),
        "normalization_version": 0,
    }
    return Broken(
        device_id=_BROKEN_DEVICE, arrives_at=_BROKEN_AT, body=json.dumps(message).encode()
    )
