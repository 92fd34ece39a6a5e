"""An API key, as it is listed: never what it is."""

from __future__ import annotations

from datetime import datetime

from adapters.shapes.out import Out
from projections.access import AccessKey


class KeyOut(Out):
    """A key as it is listed; `tenant` is * for one that holds for all of them."""

    key_id: str
    name: str
    tenant: str
    role: str
    permissions: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used: datetime | None


def key_out(key: AccessKey, used: datetime | None) -> KeyOut:
    """A key as it is answered."""
    return KeyOut(
        key_id=key.key_id,
        name=key.name,
        tenant=key.tenant,
        role=key.role,
        permissions=list(key.permissions),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used=used,
    )
