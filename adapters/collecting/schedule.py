"""When a device is read next, the record of its last attempt, and of who reads it now, that all
collectors share, and that it told of a change which nobody has read yet.

These records are no facts: without the first every device is due at once, and what was read until
then is not sent; without the second a change is read when its device is due.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct, structs

from adapters.jetstream.buckets import Bucket, Entry
from adapters.ssh.failures import WAITS_FOR_A_PERSON
from domain.events import DeviceSettings
from domain.fields import seconds_until_open
from domain.ids import from_token, to_token

log = logging.getLogger(__name__)

BUCKET: Final = "CONFIGTRAIL_SCHEDULE"
BACK_OFF_MINUTES: Final = (1, 5, 15, 60)
_JITTER: Final = 0.1
_CHANGED: Final = "changed"


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device's last attempt. `failures` in a row, 0 when it went well; `kind` is the last
    one's. `settings` is a mark of those that it was made with."""

    at: datetime
    settings: str
    failures: int = 0
    kind: str | None = None


class Claim(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who reads a device now: the program by `name`, in the `turn` of its `session`, which began by
    its clock; `task` says what for, where that is not the schedule."""

    session: str
    turn: int
    name: str
    began: datetime
    task: str | None = None


class Record(Struct, frozen=True):
    """What collectors share of a device. `revision` is that of its entry, 0 when there is none."""

    last: Attempt | None = None
    claim: Claim | None = None
    revision: int = 0


class _Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record as it is kept: the last attempt's fields, and who reads the device now."""

    at: datetime
    settings: str
    failures: int = 0
    kind: str | None = None
    claim: Claim | None = None


# Kept where there is none: versions before claims can't read a record without an attempt, and read
# a device at once of which this is the last.
_NEVER: Final = Attempt(at=datetime.fromtimestamp(0, UTC), settings="")


class Schedule:
    """The records and the reported changes, by device."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def last(self, tenant_id: str, device_id: str) -> Attempt | None:
        """The device's last attempt, as far as anybody told."""
        return (await self.record(tenant_id, device_id)).last

    async def record(self, tenant_id: str, device_id: str) -> Record:
        """The device's record as it is now."""
        return _record(await self._bucket.entry(to_token(tenant_id), to_token(device_id)))

    async def records(self) -> dict[tuple[str, str], Record]:
        """The records of all devices but those that can't be read, which raise their errors when
        they are asked for alone."""
        found = {}
        for (tenant, device), entry in (await self._bucket.entries("*", "*")).items():
            try:
                found[from_token(tenant), from_token(device)] = _record(entry)
            except (msgspec.DecodeError, ValueError) as error:
                log.warning("the record %s.%s can't be read: %s", tenant, device, error)
        return found

    async def replace(
        self, tenant_id: str, device_id: str, record: Record, claim: Claim | None
    ) -> Record | None:
        """Put the last attempt of a record, and a claim, in the place of the revision that it has;
        what is there now, or None, and nothing done, when another revision was."""
        last = record.last
        kept = _Kept(**structs.asdict(last or _NEVER), claim=claim)
        names = to_token(tenant_id), to_token(device_id)
        value = msgspec.json.encode(kept)
        revision = await self._bucket.put_after(value, *names, after=record.revision)
        return None if revision is None else Record(last, claim, revision)

    async def report(self, tenant_id: str, device_id: str, at: datetime) -> None:
        """A device told of a change, which is to be read."""
        value = at.astimezone(UTC).isoformat().encode()
        await self._bucket.put(value, to_token(tenant_id), to_token(device_id), _CHANGED)

    async def settle(self, tenant_id: str, device_id: str) -> None:
        """What it told of is read."""
        await self._bucket.drop(to_token(tenant_id), to_token(device_id), _CHANGED)

    async def reported(self) -> dict[tuple[str, str], datetime]:
        """The devices that told of a change which is not read, and when it was last told."""
        found = {}
        for name in await self._bucket.matching("*", "*", _CHANGED):
            told = await self._bucket.get(*name)
            if told is not None:
                key = from_token(name[0]), from_token(name[1])
                found[key] = datetime.fromisoformat(told.decode())
        return found


def _record(entry: Entry) -> Record:
    if not entry.value:
        return Record(revision=entry.revision)
    kept = msgspec.json.decode(entry.value, type=_Kept)
    last = Attempt(at=kept.at, settings=kept.settings, failures=kept.failures, kind=kept.kind)
    return Record(None if last == _NEVER else last, kept.claim, entry.revision)


def mark_of(settings: DeviceSettings, trust: str = "", secret: str = "") -> str:
    """A short mark: equal for equal settings, trust and mark of the stored credential. What waits
    for a person goes on when one of them changes."""
    of = msgspec.json.encode(settings) + trust.encode() + secret.encode()
    return hashlib.sha256(of).hexdigest()[:16]


def due_at(
    name: str, settings: DeviceSettings, mark: str, last: Attempt | None, now: datetime
) -> datetime | None:
    """When a device is to be read next; None: not before a person does something.

    Successes are an interval apart, less up to a tenth of it, by chance but the same for every
    collector; failures 1, 5, 15 and then 60 minutes, but never more than the interval.
    """
    if not settings.enabled:
        return None
    at = now
    if last is not None and last.failures:
        if last.kind in WAITS_FOR_A_PERSON and last.settings == mark:
            return None
        if last.settings == mark:
            minutes = BACK_OFF_MINUTES[min(last.failures, len(BACK_OFF_MINUTES)) - 1]
            at = last.at + timedelta(seconds=min(minutes * 60, settings.interval_seconds))
    elif last is not None:
        early = _JITTER * _chance(name, last.at) * settings.interval_seconds
        at = last.at + timedelta(seconds=settings.interval_seconds - early)
    moment = max(at, now).astimezone(UTC)
    of_day = moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)
    wait = seconds_until_open(settings.window, of_day.total_seconds())
    return moment + timedelta(seconds=wait) if wait else at


def from_another_clock(last: Attempt | None, settings: DeviceSettings, now: datetime) -> bool:
    """Whether an attempt lies too far in the future to be one: some clock was wrong, or is."""
    return last is not None and last.at > now + timedelta(seconds=settings.interval_seconds)


def _chance(name: str, at: datetime) -> float:
    """A number between 0 and 1 that looks random."""
    digest = hashlib.sha256(f"{name} {at.timestamp()}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32
