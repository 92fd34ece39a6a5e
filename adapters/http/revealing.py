"""Secrets are shown to those who may see them and ask for them, and never unrecorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request

from adapters.access.revealing import record_reveal
from adapters.http.access import Permission, may, principal_of, remote_address
from domain.errors import InvalidInput
from domain.granting import REASON_MAX, check_reveal_reason
from projections.backups import Snapshot

if TYPE_CHECKING:
    from adapters.composition import System

Reveal = Annotated[
    bool, Query(description="show secrets as they are, which is recorded; else as keyed hashes")
]


Why = Annotated[
    str | None,
    Query(
        max_length=REASON_MAX,
        description="why secrets are looked at, for the audit trail; not blank",
    ),
]


def allow(request: Request, reveal: bool, reason: str | None) -> None:
    """Raise when secrets are asked for and whoever asks may not see them, or for a reason that
    can't be told, or is blank."""
    if reveal:
        may(request, Permission.REVEAL)
        check_reveal_reason(reason)
    elif reason is not None:
        raise InvalidInput("reason", "is recorded with reveal=true, and nowhere without it")


async def recorded(
    system: System,
    request: Request,
    reason: str | None,
    snapshot: Snapshot,
    before: Snapshot | None = None,
) -> None:
    """Record that secrets are about to be shown. Raises when that can't be: then they are not.

    A comparison shows those of `before` as well, which may be another device's.
    """
    principal = principal_of(request)
    assert principal is not None
    across = before is not None and before.device_id != snapshot.device_id
    for shown in (snapshot, before) if across else (snapshot,):
        assert shown is not None
        await record_reveal(
            system.events,
            system.source,
            shown.tenant_id,
            shown.device_id,
            shown.snapshot_id,
            principal=principal,
            remote_address=remote_address(request),
            from_snapshot_id=before.snapshot_id if before is not None and not across else None,
            reason=reason,
        )
