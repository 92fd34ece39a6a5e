"""The events that decisions lead to, built from their grounds. Ids are deterministic."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from domain.attribution import attributed
from domain.device import Confirms, DeviceState, IsNew
from domain.envelope import NewEvent
from domain.events import (
    Attribution,
    BackupOutcome,
    ChangeSummary,
    CollectionFailed,
    ContentRef,
    DiffGenerated,
    DuplicateSkipped,
    EventSkipped,
    ManualBackupFinished,
    ManualBackupTriggered,
    SectionChange,
    SnapshotCreated,
    SnapshotRecanonicalised,
    Source,
)
from domain.ids import snapshot_id
from domain.observation import Observation

# A text may name any number of menus, and an event must stay small.
MOST_SECTIONS: Final = 500


def confirmed(observation: Observation, verdict: Confirms) -> NewEvent:
    """The event for an observation that confirms a snapshot."""
    return _event(
        observation,
        DuplicateSkipped(
            actor=observation.actor,
            observation_id=observation.observation_id,
            snapshot_id=verdict.snapshot.ref.snapshot_id,
            text_fingerprint=observation.text_fingerprint,
            collected_at=observation.collected_at,
            source=observation.source,
            late=verdict.late,
            trigger_id=observation.trigger_id,
            author=observation.author,
        ),
    )


def created(
    observation: Observation,
    verdict: IsNew,
    content: ContentRef,
    observed_before: datetime | None = None,
) -> NewEvent:
    """The event for an observation that shows a new configuration, stored at `content`.

    `observed_before` is when the device was read before: whoever changed it did so since.
    """
    return _event(
        observation,
        SnapshotCreated(
            actor=observation.actor,
            observation_id=observation.observation_id,
            snapshot_id=snapshot_id(observation.observation_id),
            fingerprint=observation.fingerprint,
            text_fingerprint=observation.text_fingerprint,
            canonical=observation.canonical,
            content=content,
            size_bytes=observation.size_bytes,
            line_count=observation.line_count,
            collected_at=observation.collected_at,
            platform=observation.platform,
            os_version=observation.os_version,
            source=observation.source,
            completeness=observation.completeness,
            warnings=observation.warnings,
            predecessor=verdict.predecessor.ref if verdict.predecessor else None,
            successor=verdict.successor.ref if verdict.successor else None,
            trigger_id=observation.trigger_id,
            author=observation.author,
            changed_by=_changed_by(observation, verdict, observed_before),
        ),
    )


def _changed_by(
    observation: Observation, verdict: IsNew, observed_before: datetime | None
) -> Attribution | None:
    history = observation.device_history
    if history is not None and verdict.successor is not None:
        # The reading before the newest one is not the one before this one.
        return Attribution(certainty="unknown", reason="arrived_late")
    return attributed(history, observed_before, observation.collected_at)


def observed_event_id(observation_id: str) -> str:
    """The id of the one event that an observation becomes."""
    return f"observation.{observation_id}"


def creating_event_id(snapshot_id: str) -> str | None:
    """The id of the event that created a snapshot, None for an id that none of ours has."""
    try:
        return observed_event_id(UUID(snapshot_id).hex)
    except ValueError:
        return None


def diffed(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    from_snapshot_id: str,
    to_snapshot_id: str,
    content: ContentRef,
    lines_added: int,
    lines_removed: int,
    sections: tuple[SectionChange, ...],
    coarse: bool,
    occurred_at: datetime,
    changes: tuple[ChangeSummary, ...] = (),
    changes_more: int = 0,
    changes_content: ContentRef | None = None,
    causation_id: str | None = None,
    correlation_id: str | None = None,
    traceparent: str | None = None,
) -> NewEvent | None:
    """The event for a difference that was worked out, or None when it is told already."""
    if (from_snapshot_id, to_snapshot_id) not in state.pending_diffs:
        return None
    return NewEvent(
        event_id=f"diff.{from_snapshot_id}.{to_snapshot_id}",
        tenant_id=tenant_id,
        device_id=device_id,
        occurred_at=occurred_at,
        correlation_id=correlation_id,
        causation_id=causation_id,
        traceparent=traceparent,
        event=DiffGenerated(
            actor="system:differ",
            from_snapshot_id=from_snapshot_id,
            to_snapshot_id=to_snapshot_id,
            lines_added=lines_added,
            lines_removed=lines_removed,
            content=content,
            sections=sections[:MOST_SECTIONS],
            sections_more=max(0, len(sections) - MOST_SECTIONS),
            coarse=coarse,
            changes=changes,
            changes_more=changes_more,
            changes_content=changes_content,
        ),
    )


def recanonicalised(
    tenant_id: str,
    device_id: str,
    *,
    snapshot_id: str,
    fingerprint: str,
    canonical: str,
    previous_canonical: str,
    actor: str,
    occurred_at: datetime,
) -> NewEvent:
    """The event for a snapshot whose fingerprint was worked out anew, under newer rules."""
    return NewEvent(
        event_id=f"recanonicalised.{snapshot_id}.{canonical}",
        tenant_id=tenant_id,
        device_id=device_id,
        occurred_at=occurred_at,
        event=SnapshotRecanonicalised(
            actor=actor,
            snapshot_id=snapshot_id,
            fingerprint=fingerprint,
            canonical=canonical,
            previous_canonical=previous_canonical,
        ),
    )


def triggered(
    tenant_id: str,
    device_id: str,
    *,
    trigger_id: str,
    actor: str,
    occurred_at: datetime,
    remote_address: str | None = None,
    reason: str | None = None,
    traceparent: str | None = None,
) -> NewEvent:
    """The event for a backup that somebody asked for."""
    return NewEvent(
        event_id=f"trigger.{trigger_id}",
        tenant_id=tenant_id,
        device_id=device_id,
        occurred_at=occurred_at,
        correlation_id=trigger_id,
        traceparent=traceparent,
        event=ManualBackupTriggered(
            actor=actor, trigger_id=trigger_id, remote_address=remote_address, reason=reason
        ),
    )


def finished(
    state: DeviceState,
    tenant_id: str,
    device_id: str,
    *,
    trigger_id: str,
    actor: str,
    outcome: BackupOutcome,
    occurred_at: datetime,
    message: str | None = None,
    snapshot: str | None = None,
    traceparent: str | None = None,
) -> NewEvent | None:
    """The event for a manual backup's end, or None when its end is already told."""
    if trigger_id not in state.open_triggers:
        return None
    return NewEvent(
        event_id=f"finished.{trigger_id}",
        tenant_id=tenant_id,
        device_id=device_id,
        occurred_at=occurred_at,
        correlation_id=trigger_id,
        causation_id=f"trigger.{trigger_id}",
        traceparent=traceparent,
        event=ManualBackupFinished(
            actor=actor,
            trigger_id=trigger_id,
            outcome=outcome,
            message=message,
            snapshot_id=snapshot,
        ),
    )


def collection_failed(
    tenant_id: str,
    device_id: str,
    *,
    failure_id: str,
    kind: str,
    message: str,
    attempted_at: datetime,
    source: Source,
    attempt: int = 1,
    trigger_id: str | None = None,
    actor: str = "system:recorder",
) -> NewEvent:
    """The event for a device that could not be read. `failure_id` is the reading's own id."""
    return NewEvent(
        event_id=f"failure.{failure_id}",
        tenant_id=tenant_id,
        device_id=device_id,
        occurred_at=attempted_at,
        correlation_id=trigger_id,
        event=CollectionFailed(
            actor=actor,
            failure_id=failure_id,
            kind=kind,
            message=message,
            attempted_at=attempted_at,
            source=source,
            attempt=attempt,
            trigger_id=trigger_id,
        ),
    )


def event_skipped(
    tenant_id: str,
    device_id: str,
    *,
    projection: str,
    position: int,
    skipped_event_id: str,
    actor: str,
    occurred_at: datetime,
    reason: str | None = None,
) -> NewEvent:
    """The event for a read model that is to go on without an event that it can't take in."""
    return NewEvent(
        event_id=f"skip.{projection}.{position}",
        tenant_id=tenant_id,
        device_id=device_id,
        occurred_at=occurred_at,
        causation_id=skipped_event_id or None,
        event=EventSkipped(
            actor=actor,
            projection=projection,
            position=position,
            skipped_event_id=skipped_event_id,
            reason=reason,
        ),
    )


def _event(observation: Observation, event: SnapshotCreated | DuplicateSkipped) -> NewEvent:
    return NewEvent(
        event_id=observed_event_id(observation.observation_id),
        tenant_id=observation.tenant_id,
        device_id=observation.device_id,
        occurred_at=observation.collected_at,
        event=event,
        correlation_id=observation.correlation_id,
        causation_id=observation.causation_id,
        traceparent=observation.traceparent,
    )
