"""A device's state, folded from its events, and what a new observation means for it.

The state is small and enough for observations that come in time order. One that comes late is
judged against the whole `History`: it finds its true neighbours in time and never becomes the
current one.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from domain.canonical import has_rules
from domain.envelope import Head, StoredEvent
from domain.events import (
    AccessKeyCreated,
    AccessKeyRevoked,
    AccessRefused,
    CollectionFailed,
    CollectionRecovered,
    ContentExpired,
    ContentRevealed,
    ContentShredded,
    CredentialRemoved,
    CredentialSet,
    DeviceConfigured,
    DeviceRetired,
    DiffGenerated,
    DuplicateSkipped,
    EventSkipped,
    GivenSettings,
    GroupConfigured,
    GroupRemoved,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    LegalHoldPlaced,
    LegalHoldReleased,
    ManualBackupFinished,
    ManualBackupTriggered,
    RetentionPolicy,
    RetentionPolicySet,
    SnapshotCreated,
    SnapshotRecanonicalised,
    SnapshotRef,
)
from domain.observation import Observation

MOST_KINDS = 32


class Snapshot(Struct, frozen=True):
    """What decisions need of a recorded snapshot."""

    ref: SnapshotRef
    fingerprint: str
    canonical: str
    platform: str

    def shows(self, observation: Observation) -> bool:
        """Whether the observation has this snapshot's configuration, by this snapshot's rules.

        Of which platform a text is, where that was not known, is news: now it can be redacted.
        """
        named_now = self.platform != observation.platform and has_rules(observation.platform)
        if named_now and not has_rules(self.platform):
            return False
        return self.fingerprint == observation.fingerprint_under(self.canonical)


class DeviceState(Struct, frozen=True):
    """A device's history, folded.

    `current` is the snapshot that the newest observation showed, at `last_observed_at`.
    `pending_diffs` are pairs of snapshot ids (from, to) whose difference nobody has told yet.
    `failing_kinds` are the kinds of failure that were told since a reading went well, the one that
    was told last at the end; `refused_key` the host key that blocks the device; `expected_key` the
    fingerprint of the only key that may be pinned next.
    `holds` are the legal holds in force, `era` counts how often its texts were erased. Of what is
    told of a tenant as a whole, `retention` is its policy; of what is told of a group of devices,
    `group` is what it gives them; of what is told of a credential, `credential` that it is there.
    """

    head: Head = Head()
    current: Snapshot | None = None
    last_observed_at: datetime | None = None
    last_observation_id: str | None = None
    pending_diffs: tuple[tuple[str, str], ...] = ()
    open_triggers: tuple[str, ...] = ()
    last_failure_at: datetime | None = None
    last_failure_id: str | None = None
    os_version: str | None = None
    configured: DeviceConfigured | None = None
    failing_kinds: tuple[str, ...] = ()
    pinned_key: HostKeyPinned | None = None
    refused_key: HostKeyChanged | None = None
    expected_key: str | None = None
    holds: tuple[LegalHoldPlaced, ...] = ()
    era: int = 0
    retention: RetentionPolicy | None = None
    group: GivenSettings | None = None
    credential: CredentialSet | None = None


class Sighting(Struct, frozen=True):
    """One recorded observation: when which snapshot was seen."""

    collected_at: datetime
    observation_id: str
    snapshot: Snapshot


class History(Struct, frozen=True):
    """All recorded observations of a device, by collection time (at equal times by arrival)."""

    sightings: tuple[Sighting, ...] = ()
    observation_ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, events: Iterable[StoredEvent]) -> History:
        """The history that a device's events tell, from its first event on."""
        sightings: list[Sighting] = []
        snapshots: dict[str, Snapshot] = {}
        renewed: dict[str, SnapshotRecanonicalised] = {}
        for stored in events:
            if isinstance(stored.event, SnapshotRecanonicalised):
                renewed[stored.event.snapshot_id] = stored.event
            sighting = _sighting(stored, snapshots)
            if sighting is not None:
                snapshots[sighting.snapshot.ref.snapshot_id] = sighting.snapshot
                insort(sightings, sighting, key=lambda one: one.collected_at)
        return cls(
            tuple(_recanonicalised(sightings, renewed)),
            frozenset(one.observation_id for one in sightings),
        )

    def extended(self, stored: StoredEvent) -> History:
        """The history with one more event."""
        if isinstance(stored.event, SnapshotRecanonicalised):
            event = stored.event
            renewed = _recanonicalised(self.sightings, {event.snapshot_id: event})
            return History(tuple(renewed), self.observation_ids)
        snapshots = {one.snapshot.ref.snapshot_id: one.snapshot for one in self.sightings}
        sighting = _sighting(stored, snapshots)
        if sighting is None:
            return self
        sightings = list(self.sightings)
        insort(sightings, sighting, key=lambda one: one.collected_at)
        return History(tuple(sightings), self.observation_ids | {sighting.observation_id})

    @property
    def rules(self) -> frozenset[str]:
        """The rules under which its snapshots are known."""
        return frozenset(one.snapshot.canonical for one in self.sightings)

    def neighbours(self, moment: datetime) -> tuple[Snapshot | None, Snapshot | None]:
        """The snapshots seen last at or before `moment`, and first after it."""
        index = bisect_right(self.sightings, moment, key=lambda one: one.collected_at)
        before = self.sightings[index - 1].snapshot if index else None
        after = self.sightings[index].snapshot if index < len(self.sightings) else None
        return before, after


class AlreadyRecorded(Struct, frozen=True):
    """The observation has its fact: nothing is to be appended."""


class Confirms(Struct, frozen=True):
    """The observation shows the configuration that held then."""

    snapshot: Snapshot
    late: bool


class IsNew(Struct, frozen=True):
    """The observation differs from its neighbours in time. With a `successor` it is late."""

    predecessor: Snapshot | None
    successor: Snapshot | None


Classification = AlreadyRecorded | Confirms | IsNew


def needs_history(state: DeviceState, observation: Observation) -> bool:
    """Whether the state alone can't judge the observation.

    One collected after all others can't have been recorded; the newest one is known by its id.
    """
    newest = state.last_observed_at
    return (
        newest is not None
        and observation.collected_at <= newest
        and observation.observation_id != state.last_observation_id
    )


def classify(
    state: DeviceState, observation: Observation, history: History | None = None
) -> Classification:
    """What an observation means. `ValueError` when `needs_history` and none is given."""
    if observation.observation_id == state.last_observation_id:
        return AlreadyRecorded()
    before, after = state.current, None
    if needs_history(state, observation):
        if history is None:
            raise ValueError("this observation can only be judged against the whole history")
        if observation.observation_id in history.observation_ids:
            return AlreadyRecorded()
        before, after = history.neighbours(observation.collected_at)
    for neighbour in (before, after):
        if neighbour is not None and neighbour.shows(observation):
            return Confirms(neighbour, late=after is not None)
    return IsNew(before, after)


def evolve(state: DeviceState, stored: StoredEvent) -> DeviceState:
    """The state after one more event. `ValueError` when a version is missing or repeated."""
    if stored.version != state.head.version + 1:
        raise ValueError(
            f"{stored.tenant_id}/{stored.device_id}: version {stored.version} follows version "
            f"{state.head.version}"
        )
    state = replace(state, head=Head(stored.version, stored.position))
    match stored.event:
        case SnapshotCreated() as event:
            here = event.snapshot_id
            pairs = list(state.pending_diffs)
            if event.predecessor is not None:
                pairs.append((event.predecessor.snapshot_id, here))
            if event.successor is not None:
                pairs.append((here, event.successor.snapshot_id))
                return replace(state, pending_diffs=tuple(pairs))
            return replace(
                state,
                pending_diffs=tuple(pairs),
                current=_snapshot(event),
                os_version=event.os_version,
                last_observed_at=event.collected_at,
                last_observation_id=event.observation_id,
            )
        case DuplicateSkipped(late=False) as event:
            return replace(
                state,
                last_observed_at=event.collected_at,
                last_observation_id=event.observation_id,
            )
        case DiffGenerated() as event:
            told = (event.from_snapshot_id, event.to_snapshot_id)
            return replace(
                state, pending_diffs=tuple(pair for pair in state.pending_diffs if pair != told)
            )
        case SnapshotRecanonicalised() as event:
            current = state.current
            if current is None or current.ref.snapshot_id != event.snapshot_id:
                return state
            return replace(state, current=_renewed(current, event))
        case ManualBackupTriggered() as event:
            return replace(state, open_triggers=(*state.open_triggers, event.trigger_id))
        case ManualBackupFinished() as event:
            return replace(
                state,
                open_triggers=tuple(one for one in state.open_triggers if one != event.trigger_id),
            )
        case CollectionFailed() as event:
            if state.last_failure_at is not None and event.attempted_at < state.last_failure_at:
                return state
            return replace(
                state,
                last_failure_at=event.attempted_at,
                last_failure_id=event.failure_id,
                failing_kinds=_with_kind(state.failing_kinds, event.kind),
            )
        case CollectionRecovered():
            return replace(state, failing_kinds=())
        case DeviceConfigured() as event:
            return replace(state, configured=event)
        case DeviceRetired():
            # Its failures are over: back in the inventory, one of the same kind is a new one.
            return replace(state, configured=None, failing_kinds=())
        case GroupConfigured() as event:
            return replace(state, group=event.defaults)
        case GroupRemoved():
            return replace(state, group=None)
        case CredentialSet() as event:
            return replace(state, credential=event)
        case CredentialRemoved():
            return replace(state, credential=None)
        case HostKeyPinned() as event:
            return replace(state, pinned_key=event, refused_key=None, expected_key=None)
        case HostKeyChanged() as event:
            return replace(state, refused_key=event)
        case HostKeyReleased() as event:
            return replace(
                state,
                pinned_key=None,
                refused_key=None,
                expected_key=event.expected_fingerprint,
            )
        case DuplicateSkipped() | EventSkipped() | ContentRevealed():
            return state
        case AccessKeyCreated() | AccessKeyRevoked() | AccessRefused():
            return state
        case ContentExpired() as event:
            return _without(state, event.snapshot_id)
        case ContentShredded():
            # What is seen next is new, whatever it looks like: there is nothing to compare with.
            return replace(state, current=None, pending_diffs=(), era=state.era + 1)
        case LegalHoldPlaced() as event:
            return replace(state, holds=(*state.holds, event))
        case LegalHoldReleased() as event:
            return replace(
                state, holds=tuple(one for one in state.holds if one.hold_id != event.hold_id)
            )
        case RetentionPolicySet() as event:
            return replace(state, retention=event.policy)


def _with_kind(kinds: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """The kinds with one more, told last. Other programs name kinds as they like: few are kept."""
    return (*(one for one in kinds if one != kind), kind)[-MOST_KINDS:]


def _without(state: DeviceState, snapshot_id: str) -> DeviceState:
    """The state when a snapshot's text is not kept any more: nothing can confirm it, or be compared
    with it."""
    current = state.current
    if current is not None and current.ref.snapshot_id == snapshot_id:
        current = None
    pending = tuple(pair for pair in state.pending_diffs if snapshot_id not in pair)
    return replace(state, current=current, pending_diffs=pending)


def _snapshot(event: SnapshotCreated) -> Snapshot:
    ref = SnapshotRef(snapshot_id=event.snapshot_id, content=event.content)
    return Snapshot(ref, event.fingerprint, event.canonical, event.platform)


def _renewed(snapshot: Snapshot, event: SnapshotRecanonicalised) -> Snapshot:
    return replace(snapshot, fingerprint=event.fingerprint, canonical=event.canonical)


def _recanonicalised(
    sightings: Sequence[Sighting], renewed: Mapping[str, SnapshotRecanonicalised]
) -> Sequence[Sighting]:
    if not renewed:
        return sightings
    return [
        replace(one, snapshot=_renewed(one.snapshot, event))
        if (event := renewed.get(one.snapshot.ref.snapshot_id)) is not None
        else one
        for one in sightings
    ]


def _sighting(stored: StoredEvent, snapshots: dict[str, Snapshot]) -> Sighting | None:
    match stored.event:
        case SnapshotCreated() as event:
            return Sighting(event.collected_at, event.observation_id, _snapshot(event))
        case DuplicateSkipped() as event:
            confirmed = snapshots[event.snapshot_id]
            return Sighting(event.collected_at, event.observation_id, confirmed)
        case _:
            return None
