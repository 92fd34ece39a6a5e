"""Sends readings to the intake: many devices at once, each device's one after the other.

Waiting for one message to be durable before the next is sent would leave servers and recorder idle
most of the time. Of one device only one is on its way, so that a retry never changes the order.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from adapters.crypto.keys import KeyRing
from adapters.importing.moments import Moments
from adapters.importing.reading import Reading, digest
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
        """Send each that has no fact yet; those that can't even be sent are refused here. They are
        in the order of time.

        `known` are the ids of each device's facts, to which what is sent is added. `told` hears how
        many readings are done. Raises `IntakeFull` and `Unavailable` after `STALLED_SECONDS`.
        """
        key = (await self._keyring.tenant(self._tenant_id)).fingerprint_key

        def event_of(device_id: str, at: datetime, sha256: str) -> str:
            return observed_event_id(observation_id(key, self._tenant_id, device_id, at, sha256))

        moments = Moments(
            readings,
            lambda device_id, at, sha256: event_of(device_id, at, sha256) in known[device_id],
        )
        sent: list[Sent] = []
        refused: list[Refused] = []
        done = 0
        while done < len(readings):
            texts = await asyncio.to_thread(together, readings, done)
            waiting = []
            for number, text in enumerate(texts, done):
                reading = readings[number]
                if isinstance(text, InvalidInput):
                    refused.append(_unsent(reading, text))
                    continue
                at = await moments.of(number, text.collected_at, text.sha256)
                event_id = event_of(reading.device_id, at, text.sha256)
                if event_id not in known[reading.device_id]:
                    known[reading.device_id].add(event_id)
                    waiting.append(self._publish(reading, text.text, at, event_id))
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

    async def _publish(
        self, reading: Reading, text: str, at: datetime, event_id: str
    ) -> Sent | Refused:
        """Send one reading, over outages and while the intake is full: sent twice it is the same
        observation."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STALLED_SECONDS
        while True:
            try:
                sequence = await self._intake.publish(
                    self._tenant_id,
                    reading.device_id,
                    text,
                    at,
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
        room -= len(text.encode())
        found.append(Text(text, digest(text), moment))
    return found


def _unsent(reading: Reading, error: InvalidInput) -> Refused:
    return Refused(reading.where, error.field, error.rule, None)
