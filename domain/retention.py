"""Which texts of a device are kept, and why: its events, folded, against its tenant's policy. Pure.

A policy speaks of what *held*, not of when it was read: a configuration that nobody touched for a
year is within the last thirty days, and the file as of any day within them can be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from msgspec import Struct, field

from domain.envelope import StoredEvent
from domain.errors import InvalidInput
from domain.events import (
    ContentExpired,
    ContentShredded,
    DeviceConfigured,
    DeviceRetired,
    DiffGenerated,
    DuplicateSkipped,
    GoneContent,
    LegalHoldPlaced,
    LegalHoldReleased,
    RetentionPolicy,
    SnapshotCreated,
)

# A difference that nobody has told yet needs both texts; after so long nobody will tell it.
_TO_COMPARE: Final = timedelta(days=1)
_MOST: Final = 100_000
_DAY: Final = timedelta(days=1)
_NOTHING: Final = RetentionPolicy()


class Kept(Struct, frozen=True):
    """A snapshot whose text is there, and every content that would tell of it."""

    snapshot: SnapshotCreated
    stored_at: datetime
    contents: tuple[GoneContent, ...]


class Held(Struct, frozen=True):
    """A stretch of time in which a snapshot held; `until` None: it still does."""

    snapshot_id: str
    since: datetime
    until: datetime | None


class Verdict(Struct, frozen=True):
    """What is to become of a snapshot's text. `reasons` to keep it; without any it goes."""

    kept: Kept
    reasons: tuple[str, ...]


class Told(Struct, frozen=True):
    """A difference that was told of two snapshots, and its contents."""

    ends: tuple[str, str]
    contents: tuple[GoneContent, ...]


class Holdings(Struct):
    """What is kept of a device, folded from all its events in order."""

    snapshots: dict[str, tuple[SnapshotCreated, datetime]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    seen: list[tuple[datetime, int, str]] = field(default_factory=list)
    holds: dict[str, LegalHoldPlaced] = field(default_factory=dict)
    retired: bool = False

    @classmethod
    def of(cls, events: Iterable[StoredEvent]) -> Holdings:
        """What the device's events leave."""
        holdings = cls()
        for stored in events:
            holdings._apply(stored)
        return holdings

    def _apply(self, stored: StoredEvent) -> None:
        match stored.event:
            case SnapshotCreated() as event:
                self.snapshots[event.snapshot_id] = (event, stored.stored_at)
                self._see(event, stored.position)
            case DuplicateSkipped() as event:
                self._see(event, stored.position)
            case DiffGenerated() as event:
                contents = [GoneContent(kind="diff", content=event.content)]
                if event.changes_content is not None:
                    contents.append(GoneContent(kind="changes", content=event.changes_content))
                ends = (event.from_snapshot_id, event.to_snapshot_id)
                self.told.append(Told(ends, tuple(contents)))
            case ContentExpired() as event:
                self.snapshots.pop(event.snapshot_id, None)
                self.told = [one for one in self.told if event.snapshot_id not in one.ends]
            case ContentShredded():
                self.snapshots, self.told = {}, []
            case LegalHoldPlaced() as event:
                self.holds[event.hold_id] = event
            case LegalHoldReleased() as event:
                self.holds.pop(event.hold_id, None)
            case DeviceRetired():
                self.retired = True
            case DeviceConfigured():
                self.retired = False
            case _:
                pass

    def _see(self, event: SnapshotCreated | DuplicateSkipped, position: int) -> None:
        # Whoever is read, or pushed, is live, whatever the inventory said before.
        self.retired = False
        self.seen.append((event.collected_at, position, event.snapshot_id))

    def kept(self) -> list[Kept]:
        """The snapshots whose text is there, by collection time. A difference between two of them
        tells of both, so it is among the contents of both."""
        touching: dict[str, list[GoneContent]] = {}
        for told in self.told:
            for one in told.ends:
                touching.setdefault(one, []).extend(told.contents)
        found = sorted(self.snapshots.values(), key=lambda one: one[0].collected_at)
        return [
            Kept(
                event,
                stored_at,
                (
                    GoneContent(kind="snapshot", content=event.content),
                    *touching.get(event.snapshot_id, ()),
                ),
            )
            for event, stored_at in found
        ]

    def held(self) -> list[Held]:
        """When which snapshot held, in order of time. What a retired device showed last held until
        it was last read."""
        runs = [list(run) for _, run in groupby(sorted(self.seen), key=lambda one: one[2])]
        ends: list[datetime | None] = [run[0][0] for run in runs[1:]]
        if runs:
            ends.append(runs[-1][-1][0] if self.retired else None)
        return [Held(run[0][2], run[0][0], end) for run, end in zip(runs, ends, strict=True)]


def check_policy(policy: RetentionPolicy) -> RetentionPolicy:
    """The policy, or `InvalidInput` when a number in it is none that can be meant."""
    for name in policy.__struct_fields__:
        value = getattr(policy, name)
        if value is not None and not 1 <= value <= _MOST:
            raise InvalidInput(name, f"must be from 1 to {_MOST}")
    return policy


def in_words(policy: RetentionPolicy) -> str:
    """A policy in words: what is kept."""
    if policy == _NOTHING:
        return "everything is kept"
    units = (
        (policy.days, "what held within {} days"),
        (policy.last, "the last {}"),
        (policy.daily, "one a day for {} days"),
        (policy.weekly, "one a week for {} weeks"),
        (policy.monthly, "one a month for {} months"),
    )
    return "kept are " + ", ".join(
        words.format(number) for number, words in units if number is not None
    )


def judge(
    holdings: Holdings,
    policy: RetentionPolicy,
    now: datetime,
    *,
    tenant_holds: Iterable[LegalHoldPlaced] = (),
    pending: Iterable[tuple[str, str]] = (),
) -> list[Verdict]:
    """What is to become of each text that is kept of a device, and why. `pending` are pairs of
    snapshots whose difference nobody has told yet.

    The latest complete snapshot of a live device stays, and the current one, whatever the policy.
    """
    kept = holdings.kept()
    reasons: dict[str, list[str]] = {one.snapshot.snapshot_id: [] for one in kept}
    found = [
        *_for_all(holdings, policy, tenant_holds, kept),
        *_for_the_living(holdings, kept),
        *_by_policy(holdings, policy, now, kept),
    ]
    awaited = {one for pair in pending for one in pair}
    found += [
        (one.snapshot.snapshot_id, "its difference is still to be told")
        for one in kept
        if one.snapshot.snapshot_id in awaited and one.stored_at > now - _TO_COMPARE
    ]
    for snapshot_id, reason in found:
        if reason not in reasons.get(snapshot_id, [reason]):
            reasons[snapshot_id].append(reason)
    return [Verdict(one, tuple(reasons[one.snapshot.snapshot_id])) for one in kept]


def gone_with(verdict: Verdict, verdicts: Sequence[Verdict]) -> tuple[GoneContent, ...]:
    """The contents that go with a snapshot's text: never one that a snapshot that stays needs for
    itself."""
    needed = {
        one.kept.snapshot.content.sequence for one in verdicts if one.reasons and one is not verdict
    }
    return tuple(one for one in verdict.kept.contents if one.content.sequence not in needed)


def _for_all(
    holdings: Holdings,
    policy: RetentionPolicy,
    tenant_holds: Iterable[LegalHoldPlaced],
    kept: Sequence[Kept],
) -> Iterator[tuple[str, str]]:
    words = [f"legal hold of the tenant: {one.reason}" for one in tenant_holds]
    words += [f"legal hold: {one.reason}" for one in holdings.holds.values()]
    if policy == _NOTHING:
        words.append("the tenant keeps everything")
    for one in kept:
        for reason in words:
            yield one.snapshot.snapshot_id, reason


def _for_the_living(holdings: Holdings, kept: Sequence[Kept]) -> Iterator[tuple[str, str]]:
    if holdings.retired:
        return
    # One that arrived late never was the current one, but may be the newest complete one.
    held = holdings.held()
    if held:
        yield held[-1].snapshot_id, "the current one"
    complete = {one.snapshot.snapshot_id for one in kept if one.snapshot.completeness == "complete"}
    latest = next((one.snapshot_id for one in held[::-1] if one.snapshot_id in complete), None)
    if latest is not None:
        yield latest, "the latest complete one of a live device"


def _by_policy(
    holdings: Holdings, policy: RetentionPolicy, now: datetime, kept: Sequence[Kept]
) -> Iterator[tuple[str, str]]:
    held = holdings.held()
    if policy.days is not None:
        since = now - timedelta(days=policy.days)
        for one in held:
            if one.until is None or one.until > since:
                yield one.snapshot_id, f"held within {policy.days} days"
    if policy.last is not None:
        for each in kept[-policy.last :]:
            yield each.snapshot.snapshot_id, f"one of the last {policy.last}"
    for number, ends, words in (
        (policy.daily, _days, "day"),
        (policy.weekly, _weeks, "week"),
        (policy.monthly, _months, "month"),
    ):
        if number is not None:
            for end in ends(now, number):
                holder = _holding(held, end)
                if holder is not None:
                    last = (end - timedelta(microseconds=1)).date()
                    yield holder, f"held at the end of the {words} that ends with {last}"


def _holding(held: Sequence[Held], moment: datetime) -> str | None:
    """What held just before a moment."""
    for one in reversed(held):
        if one.since < moment:
            return one.snapshot_id if one.until is None or one.until >= moment else None
    return None


def _days(now: datetime, number: int) -> Iterator[datetime]:
    """The ends of the last days, the one under way among them, newest first."""
    end = _midnight(now) + _DAY
    for back in range(number):
        yield end - back * _DAY


def _weeks(now: datetime, number: int) -> Iterator[datetime]:
    end = _midnight(now) + (7 - now.astimezone(UTC).weekday()) * _DAY
    for back in range(number):
        yield end - 7 * back * _DAY


def _months(now: datetime, number: int) -> Iterator[datetime]:
    today = now.astimezone(UTC)
    months = today.year * 12 + today.month  # the month after this one, counted from 0
    for back in range(min(number, months - 12)):
        year, month = divmod(months - back, 12)
        yield datetime(year, month + 1, 1, tzinfo=UTC)


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
