"""A device among the fleet, as it is shown."""

from __future__ import annotations

from datetime import datetime

from adapters.shapes.out import Out
from projections.fleet import Member


class MemberOut(Out):
    """A device. `age_seconds` is that of its last backup at the begin of this minute, None when it
    never had one; `retired` says that it was taken out of the inventory; `open_…` is its oldest
    manual backup that has no end yet."""

    device_id: str
    last_backup: datetime | None
    age_seconds: float | None
    last_change: datetime | None
    last_failure_at: datetime | None
    last_failure_kind: str | None
    retired: bool
    open_trigger_id: str | None
    open_since: datetime | None


def member_out(member: Member) -> MemberOut:
    """A device as it is answered."""
    return MemberOut(
        device_id=member.device_id,
        last_backup=member.last_backup,
        age_seconds=None if member.age is None else max(0.0, member.age.total_seconds()),
        last_change=member.last_change,
        last_failure_at=member.last_failure_at,
        last_failure_kind=member.last_failure_kind,
        retired=member.retired,
        open_trigger_id=member.open_trigger_id,
        open_since=member.open_since,
    )
