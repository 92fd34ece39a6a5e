"""Secrets are shown to those who may see them and ask for them, and never unrecorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request

from adapters.access.revealing import record_reveal
from adapters.http.access import Permission, may, principal_of, remote_address
from projections.backups import Snapshot

if TYPE_CHECKING:
    from adapters.composition import System

Reveal = Annotated[
    bool, Query(description="show secrets as they are, which is recorded; else as keyed hashes")
]


def allow(request: Request, reveal: bool) -> None:
    """Raise when secrets are asked for and whoever asks may not see them."""
    if reveal:
        may(request, Permission.REVEAL)


async def recorded(
    system: System, request: Request, snapshot: Snapshot, before: Snapshot | None = None
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
            system.devices,
            shown.tenant_id,
            shown.device_id,
            shown.snapshot_id,
            principal=principal,
            remote_address=remote_address(request),
            from_snapshot_id=before.snapshot_id if before is not None and not across else None,
        )
