"""Sends readings to the intake: many devices at once, each device's one after the other.

Waiting for one message to be durable before the next is sent would leave servers and recorder idle
most of the time. Of one device only one is on its way, so that a retry never changes the order.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from adapters.crypto.keys import KeyRing
from adapters.importing.reading import Reading
from adapters.jetstream.intake import IntakeFull, IntakePublisher
from adapters.jetstream.progress import STALLED_SECONDS
from domain.decisions import observed_event_id
from domain.errors import InvalidInput, Unavailable
from domain.ids import observation_id

log = logging.getLogger(__name__)

AT_ONCE: Final = 32
# Of text, beyond which no further one is read ahead.
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
_AGAIN_SECONDS: Final = 0.5


class Refused(Struct, frozen=True):
    """A reading that became no fact, and why. `letter` is its dead letter; None: never sent."""

    where: str
    field: str
    rule: str
    letter: int | None


class Sent(Struct, frozen=True):
    """A reading that is on the intake, and the id of the event that it becomes."""

    reading: Reading
    sequence: int
    event_id: str


class Text(Struct, frozen=True):
    """A reading's text, and when it was made."""

    text: str
    sha256: str
    collected_at: datetime


class Sender:
    """Sends readings of one tenant."""

    def __init__(
        self,
        intake: IntakePublisher,
        keyring: KeyRing,
        tenant_id: str,
        platform: str | None = None,
    ) -> None:
        self._intake = intake
        self._keyring = keyring
        self._tenant_id = tenant_id
        self._platform = platform

    async def send(
        self,
        readings: Sequence[Reading],
        known: Mapping[str, set[str]],
        told: Callable[[int], None],
    ) -> tuple[list[Sent], list[Refused]]:
        """Send each that has no fact yet; those that can't even be sent are refused here.

        `known` are the ids of each device's facts, to which what is sent is added. `told` hears how
        many readings are done. Raises `IntakeFull` and `Unavailable` after `STALLED_SECONDS`.
        """
        key = (await self._keyring.tenant(self._tenant_id)).fingerprint_key
        sent: list[Sent] = []
        refused: list[Refused] = []
        done = 0
        while done < len(readings):
            texts = await asyncio.to_thread(together, readings, done)
            waiting = []
            for reading, text in zip(readings[done : done + len(texts)], texts, strict=True):
                if isinstance(text, InvalidInput):
                    refused.append(_unsent(reading, text))
                    continue
                device_id = reading.device_id
                identity = observation_id(
                    key, self._tenant_id, device_id, text.collected_at, text.sha256
                )
                event_id = observed_event_id(identity)
                if event_id not in known[device_id]:
                    known[device_id].add(event_id)
                    waiting.append(self._publish(reading, text, event_id))
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                if isinstance(outcome, Refused):
                    refused.append(outcome)
                else:
                    sent.append(outcome)
            done += len(texts)
            told(done)
        return sent, refused

    async def _publish(self, reading: Reading, text: Text, event_id: str) -> Sent | Refused:
        """Send one reading, over outages and while the intake is full: sent twice it is the same
        observation."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STALLED_SECONDS
        while True:
            try:
                sequence = await self._intake.publish(
                    self._tenant_id,
                    reading.device_id,
                    text.text,
                    text.collected_at,
                    source="imported",
                    platform=reading.platform or self._platform,
                    author=reading.author,
                )
            except InvalidInput as error:
                return _unsent(reading, error)
            except (IntakeFull, Unavailable) as error:
                if loop.time() > deadline:
                    raise
                log.warning("sending again: %s", error)
            else:
                return Sent(reading, sequence, event_id)
            await asyncio.sleep(_AGAIN_SECONDS)


def together(readings: Sequence[Reading], start: int) -> list[Text | InvalidInput]:
    """The texts of the readings from `start` on that may be on their way at once, or why they can't
    be had: up to the first one of a device that is among them already, and within bounds of number
    and size."""
    found: list[Text | InvalidInput] = []
    devices: set[str] = set()
    room = BYTES_AT_ONCE
    for reading in itertools.islice(readings, start, start + AT_ONCE):
        if reading.device_id in devices or room <= 0:
            break
        devices.add(reading.device_id)
        try:
            moment, text = reading.collected_at, reading.text()
        except InvalidInput as error:
            found.append(error)
            continue
        raw = text.encode()
        room -= len(raw)
        found.append(Text(text, hashlib.sha256(raw).hexdigest(), moment))
    return found


def _unsent(reading: Reading, error: InvalidInput) -> Refused:
    return Refused(reading.where, error.field, error.rule, None)
