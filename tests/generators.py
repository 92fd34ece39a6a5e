"""Made-up histories of several devices, as the domain would really tell them."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from domain import collecting, credentials, decisions, granting, groups, keeping
from domain.access import Permission, Role
from domain.device import (
    AlreadyRecorded,
    Confirms,
    DeviceState,
    History,
    classify,
    evolve,
    needs_history,
)
from domain.envelope import NewEvent, StoredEvent, StreamIdentity
from domain.events import (
    ChangeSummary,
    ContentRef,
    DeviceSettings,
    GivenSettings,
    RetentionPolicy,
    SectionChange,
    SnapshotCreated,
)
from domain.ids import TENANT_BRANCH
from domain.observation import Observation
from domain.retention import Holdings

START = datetime(2026, 1, 5, 6, tzinfo=UTC)
STREAM = StreamIdentity("CONFIGTRAIL_EVENTS", datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC))
# Two tenants with a device of the same name, and one that needs care in SQL and subjects.
DEVICES = (("acme", "edge-1"), ("acme", "core 2/ö'%"), ("globex", "edge-1"), ("globex", "spare"))
SECTIONS = ("/ip firewall filter", "/ip address", "/system identity", "/ip firewall nat")
OUTCOMES = ("succeeded", "duplicate", "failed", "locked", "timed_out", "interrupted")


class Fleet:
    """A fleet that is played step by step; `events` is what the stream holds.

    Times are whole minutes, so some observations fall on the same moment.
    """

    def __init__(self, seed: int, devices: Sequence[tuple[str, str]] = DEVICES) -> None:
        self.events: list[StoredEvent] = []
        self._choice = random.Random(seed)
        self._devices = list(devices)
        self._states: dict[tuple[str, str], DeviceState] = {}
        self._branches: dict[tuple[str, str], list[StoredEvent]] = {}
        self._observations: dict[tuple[str, str], list[Observation]] = {}
        self._minute = 0

    def step(self) -> None:
        """One thing that happens to one device; it may leave no event."""
        key = self._choice.choice(self._devices)
        self._minute += self._choice.randrange(3)
        weighted = (
            (self._observe, 8),
            (self._arrive_late, 4),
            (self._redeliver, 1),
            (self._tell_diff, 4),
            (self._trigger, 1),
            (self._finish, 1),
            (self._fail, 1),
            (self._recanonicalise, 1),
            (self._manage, 4),
            (self._skip, 1),
            (self._reveal, 1),
            (self._grant, 1),
            (self._keep, 2),
            (self._set_up, 1),
        )
        actions, weights = zip(*weighted, strict=True)
        self._choice.choices(actions, weights)[0](key)

    def state(self, key: tuple[str, str]) -> DeviceState:
        """The device's state, as the domain folds it."""
        return self._states.get(key, DeviceState())

    def branch(self, key: tuple[str, str]) -> list[StoredEvent]:
        """The device's events."""
        return self._branches.get(key, [])

    def read(self, key: tuple[str, str], minute: int, configuration: int) -> None:
        """The device is read at that minute, maybe late, and has one of three configurations."""
        self._record(self._observation(key, minute, configuration))

    def _observe(self, key: tuple[str, str]) -> None:
        self._record(self._observation(key, self._minute, self._choice.randrange(3)))

    def _arrive_late(self, key: tuple[str, str]) -> None:
        minute = self._choice.randrange(-2, self._minute + 1)
        self._record(self._observation(key, minute, self._choice.randrange(3)))

    def _redeliver(self, key: tuple[str, str]) -> None:
        recorded = self._observations.get(key)
        if recorded:
            self._record(self._choice.choice(recorded))

    def _observation(self, key: tuple[str, str], minute: int, configuration: int) -> Observation:
        tenant_id, device_id = key
        moment = START + timedelta(minutes=minute)
        state = self.state(key)
        trigger = self._choice.choice((*state.open_triggers, None, None))
        return Observation(
            observation_id=_digest(tenant_id, device_id, moment, configuration)[:32],
            tenant_id=tenant_id,
            device_id=device_id,
            collected_at=moment,
            fingerprint=_digest("fingerprint", configuration),
            text_fingerprint=_digest("text", configuration, moment),
            canonical="routeros/1",
            size_bytes=1000 + configuration,
            line_count=40 + configuration,
            platform="routeros" if configuration else "text",
            os_version=f"7.{configuration}" if configuration else None,
            source="manual" if trigger else "scheduled",
            completeness="partial" if configuration == 2 else "complete",
            warnings=("it ends\x00early", "no identity") if configuration == 2 else (),
            trigger_id=trigger,
            correlation_id=trigger,
        )

    def _record(self, observation: Observation) -> None:
        key = (observation.tenant_id, observation.device_id)
        state = self.state(key)
        history = History.of(self.branch(key)) if needs_history(state, observation) else None
        verdict = classify(state, observation, history)
        if isinstance(verdict, AlreadyRecorded):
            return
        self._observations.setdefault(key, []).append(observation)
        if isinstance(verdict, Confirms):
            self._append(decisions.confirmed(observation, verdict))
        else:
            self._append(decisions.created(observation, verdict, self._content()))

    def _tell_diff(self, key: tuple[str, str]) -> None:
        state = self.state(key)
        if not state.pending_diffs:
            return
        before, after = self._choice.choice(state.pending_diffs)
        names = self._choice.sample(SECTIONS, self._choice.randrange(len(SECTIONS)))
        sections = tuple(
            SectionChange(section=name, added=self._choice.randrange(9), removed=1)
            for name in names
        )
        event = decisions.diffed(
            state,
            *key,
            from_snapshot_id=before,
            to_snapshot_id=after,
            content=self._content(),
            lines_added=self._choice.randrange(20),
            lines_removed=self._choice.randrange(20),
            sections=sections,
            coarse=self._choice.random() < 0.1,
            changes=tuple(
                ChangeSummary(section=name, kind="modified", count=2, properties=("name", "mtu"))
                for name in names
            ),
            changes_more=self._choice.randrange(2),
            changes_content=self._content() if names else None,
            occurred_at=self._now(),
        )
        assert event is not None
        self._append(event)

    def _trigger(self, key: tuple[str, str]) -> None:
        self._append(
            decisions.triggered(
                *key,
                trigger_id=f"trigger-{len(self.events)}",
                actor=self._choice.choice(("user:ann", "user:bo", "service:syslog")),
                occurred_at=self._now(),
                remote_address="192.0.2.7",
                reason='before the change \\u0000 "\x00"',
            )
        )

    def _finish(self, key: tuple[str, str]) -> None:
        state = self.state(key)
        if not state.open_triggers:
            return
        outcome = self._choice.choice(OUTCOMES)
        event = decisions.finished(
            state,
            *key,
            trigger_id=self._choice.choice(state.open_triggers),
            actor="system:trigger",
            outcome=outcome,  # type: ignore[arg-type]
            occurred_at=self._now(),
            message="the device said\x00no" if outcome == "failed" else None,
            snapshot=state.current.ref.snapshot_id if state.current else None,
        )
        assert event is not None
        self._append(event)

    def _fail(self, key: tuple[str, str]) -> None:
        minute = self._choice.randrange(self._minute + 1)
        self._append(
            decisions.collection_failed(
                *key,
                failure_id=str(len(self.events)),
                kind=self._choice.choice(("timeout", "refused")),
                message=f"nobody answers\x00{len(self.events)}",
                attempted_at=START + timedelta(minutes=minute),
                source="scheduled",
                attempt=self._choice.randrange(1, 4),
            )
        )

    def _recanonicalise(self, key: tuple[str, str]) -> None:
        current = self.state(key).current
        if current is None:
            return
        rules = f"routeros/{len(self.events) + 2}"
        self._append(
            decisions.recanonicalised(
                *key,
                snapshot_id=current.ref.snapshot_id,
                fingerprint=_digest("fingerprint", current.fingerprint, rules),
                canonical=rules,
                previous_canonical=current.canonical,
                actor="user:someone",
                occurred_at=self._now(),
            )
        )

    def _manage(self, key: tuple[str, str]) -> None:
        """Something about how the device is read, if it is due to be told."""
        state, now, change = self.state(key), self._now(), f"change-{len(self.events)}"
        shown = self._choice.choice(("SHA256:one", "SHA256:two"))
        settings = DeviceSettings(addresses=(f"192.0.2.{self._choice.randrange(3)}",))
        event = self._choice.choice(
            (
                lambda: collecting.configured(
                    state,
                    *key,
                    change_id=change,
                    actor="user:ann",
                    occurred_at=now,
                    settings=settings,
                    origin="fleet.yaml",
                ),
                lambda: collecting.retired(
                    state,
                    *key,
                    change_id=change,
                    actor="user:ann",
                    occurred_at=now,
                    reason="sold\x00",
                ),
                lambda: collecting.host_key_shown(
                    state,
                    *key,
                    change_id=change,
                    occurred_at=now,
                    algorithm="ssh-ed25519",
                    public_key="AAAA",
                    fingerprint=shown,
                    address="192.0.2.1",
                ),
                lambda: collecting.host_key_released(
                    state,
                    *key,
                    change_id=change,
                    actor="user:bo",
                    occurred_at=now,
                    reason="new board",
                    expected_fingerprint=self._choice.choice((None, "SHA256:two")),
                ),
                lambda: collecting.recovered(
                    state, *key, recovery_id=change, occurred_at=now, failures=3
                ),
            )
        )()
        if event is not None:
            self._append(event)

    def _set_up(self, key: tuple[str, str]) -> None:
        """Something about a group, or a credential, of the device's tenant, if it is due."""
        tenant, now, change = key[0], self._now(), f"setup-{len(self.events)}"
        who = {"change_id": change, "actor": "user:ann", "occurred_at": now, "reason": "why\x00"}
        group = self.state((tenant, groups.group_branch("edge")))
        credential = self.state((tenant, credentials.credential_branch("main")))
        there = credential.credential is not None
        told = self._choice.randrange(4)
        event: NewEvent | None
        if told == 0:
            given = GivenSettings(port=self._choice.randrange(1, 9))
            event = groups.group_configured(
                group,
                tenant,
                "edge",
                defaults=given,
                origin="api",
                **who,  # type: ignore[arg-type]
            )
        elif told == 1:
            event = groups.group_removed(group, tenant, "edge", **who)  # type: ignore[arg-type]
        elif told == 2:
            event = credentials.credential_set(
                credential,
                tenant,
                "main",
                place="store",
                holds=("password",),
                was_there=there,
                **who,  # type: ignore[arg-type]
            )
        else:
            event = credentials.credential_removed(
                credential,
                tenant,
                "main",
                used_by=2,
                was_there=there,
                **who,  # type: ignore[arg-type]
            )
        if event is not None:
            self._append(event)

    def _skip(self, key: tuple[str, str]) -> None:
        # For a read model that is none of ours: it changes no row but the trail's.
        self._append(
            decisions.event_skipped(
                *key,
                projection="gone",
                position=len(self.events) + 1,
                skipped_event_id="an event\x00",
                actor="user:ann",
                occurred_at=self._now(),
            )
        )

    def _reveal(self, key: tuple[str, str]) -> None:
        snapshots = [
            one.event for one in self.branch(key) if isinstance(one.event, SnapshotCreated)
        ]
        if snapshots:
            self._append(
                granting.content_revealed(
                    *key,
                    reveal_id=str(len(self.events)),
                    snapshot_id=self._choice.choice(snapshots).snapshot_id,
                    from_snapshot_id=self._choice.choice((None, snapshots[0].snapshot_id)),
                    actor="user:ann",
                    occurred_at=self._now(),
                    key_id=None,
                    remote_address="192.0.2.9",
                )
            )

    def _grant(self, key: tuple[str, str]) -> None:
        """Something about access to the device's tenant."""
        tenant, now = key[0], self._now()
        ring = granting.keys_of(self.branch((tenant, granting.KEYS_BRANCH)))
        made = sorted(ring.made - ring.revoked)
        event = self._choice.choice(
            (
                lambda: granting.key_created(
                    tenant,
                    key_id=_digest("key", len(self.events))[:16],
                    name="poller",
                    role=self._choice.choice(list(Role)),
                    secret_hash=_digest("secret", len(self.events)),
                    permissions=self._choice.choice((None, frozenset({Permission.READ}))),
                    expires_at=self._choice.choice((None, now + timedelta(days=1))),
                    actor="user:ann",
                    occurred_at=now,
                ),
                lambda: granting.key_revoked(
                    ring,
                    tenant,
                    key_id=made[0] if made else "none",
                    actor="user:bo",
                    occurred_at=now,
                    reason="lost",
                ),
                lambda: granting.access_refused(
                    tenant,
                    refusal_id=str(len(self.events)),
                    actor="user:anonymous",
                    reason="bad_credentials",
                    count=3,
                    first_at=now,
                    last_at=now,
                    remote_address="192.0.2.9",
                ),
            )
        )()
        if event is not None:
            self._append(event)

    def _keep(self, key: tuple[str, str]) -> None:
        """Something about what is kept, if it is due to be told."""
        tenant_id, device_id = key
        now, change = self._now(), f"keeping-{len(self.events)}"
        branch = self._choice.choice((key, (tenant_id, TENANT_BRANCH)))
        state = self.state(branch)
        gone = Holdings.of(self.branch(key)).kept()
        hold = {"actor": "user:ann", "occurred_at": now, "hold_id": "case-7", "reason": "court\x00"}
        told = self._choice.choice((0, 1, 2, 2, 3, 4))
        event: NewEvent | None = None
        if told == 0:
            event = keeping.policy_set(
                self.state((tenant_id, TENANT_BRANCH)),
                tenant_id,
                change_id=change,
                actor="user:bo",
                occurred_at=now,
                policy=RetentionPolicy(days=self._choice.randrange(1, 4), last=2),
                reason="disk",
            )
        elif told == 1:
            event = keeping.hold_placed(state, *branch, **hold)  # type: ignore[arg-type]
        elif told == 2:
            event = keeping.hold_released(state, *branch, **hold)  # type: ignore[arg-type]
        elif told == 3 and not state.holds:
            event = keeping.shredded(
                state,
                *branch,
                erasure_id=change,
                scope="tenant" if branch[1] == TENANT_BRANCH else "device",
                actor="user:bo",
                occurred_at=now,
                reason="asked for\x00",
                content_until=len(self.events),
                key_ids=("00" * 16,),
            )
        elif gone:
            one = self._choice.choice(gone)
            event = keeping.expired(
                tenant_id,
                device_id,
                run_id=change,
                occurred_at=now,
                snapshot_id=one.snapshot.snapshot_id,
                contents=one.contents,
                reason="kept are the last 2",
            )
        if event is not None:
            self._append(event)

    def _append(self, event: NewEvent) -> None:
        key = (event.tenant_id, event.device_id)
        state = self.state(key)
        stored = StoredEvent(
            position=len(self.events) + 1,
            version=state.head.version + 1,
            stored_at=self._now(),
            event_id=event.event_id,
            tenant_id=event.tenant_id,
            device_id=event.device_id,
            occurred_at=event.occurred_at,
            event=event.event,
            correlation_id=event.correlation_id,
            causation_id=event.causation_id,
        )
        self.events.append(stored)
        self._branches.setdefault(key, []).append(stored)
        self._states[key] = evolve(state, stored)

    def _now(self) -> datetime:
        return START + timedelta(minutes=self._minute, milliseconds=len(self.events))

    def _content(self) -> ContentRef:
        sequence = len(self.events) + 1
        return ContentRef(sequence=sequence, commitment=_digest("content", sequence))


def played(seed: int, steps: int, devices: Sequence[tuple[str, str]] = DEVICES) -> Fleet:
    """A fleet after so many steps; equal for equal arguments."""
    fleet = Fleet(seed, devices)
    for _ in range(steps):
        fleet.step()
    return fleet


def histories(most_steps: int = 80) -> st.SearchStrategy[list[StoredEvent]]:
    """Streams of events of several devices, from position 1 on."""
    return st.builds(
        lambda seed, steps: played(seed, steps).events,
        st.integers(0, 2**32),
        st.integers(1, most_steps),
    )


@st.composite
def cut(draw: st.DrawFn, most_steps: int = 80) -> list[list[StoredEvent]]:
    """A stream of events, cut into batches anywhere."""
    events = draw(histories(most_steps))
    return pieces(events, draw(st.lists(st.integers(1, max(1, len(events))), max_size=8)))


def pieces(events: Sequence[StoredEvent], at: Sequence[int]) -> list[list[StoredEvent]]:
    """The events in batches that begin at the given indices, and at 0."""
    marks = sorted({0, *at, len(events)})
    batches = [list(events[start:end]) for start, end in itertools.pairwise(marks)]
    return [batch for batch in batches if batch]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
