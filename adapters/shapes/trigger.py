"""How a manual backup ended, as it is shown."""

from __future__ import annotations

from pydantic import BaseModel


class TriggerOut(BaseModel):
    """How the backup ended. `position` is that of the event which says so; `snapshot_id` is the
    snapshot that it made (`outcome` succeeded) or confirmed (duplicate)."""

    status: str
    sha256_hash: str | None
    message: str
    trigger_id: str
    outcome: str
    snapshot_id: str | None
    position: int
