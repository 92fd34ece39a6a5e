"""Read model `access`: the keys of the API, by which requests are known again.

A key is looked up by its id alone, before anybody knows whose it is. Only the service itself reads
this table, never the role that answers for a tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from domain.access import Grant, Permission, Role, granted
from domain.envelope import StoredEvent
from domain.events import AccessKeyCreated, AccessKeyRevoked
from domain.granting import LATEST, granted_tenant
from projections.rows import Connection, Reader, columns_of, storable, struct, structs

TABLES = ("access_keys",)
DDL = """
CREATE TABLE access_keys (
    tenant_id text COLLATE "C" NOT NULL,
    key_id text COLLATE "C" NOT NULL PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL,
    secret_hash text NOT NULL,
    permissions text[] NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX access_keys_by_tenant ON access_keys (tenant_id, created_at, key_id);
"""

# Should an id be used twice, the first one counts.
_MADE = """
    INSERT INTO access_keys
        (tenant_id, key_id, name, role, secret_hash, permissions, created_at, created_by,
         expires_at)
    SELECT made.tenant_id, made.key_id, made.name, made.role, made.secret_hash,
           string_to_array(made.permissions, ','), made.created_at, made.created_by,
           made.expires_at
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                $7::timestamptz[], $8::text[], $9::timestamptz[])
        AS made(tenant_id, key_id, name, role, secret_hash, permissions, created_at, created_by,
                expires_at)
    ON CONFLICT DO NOTHING
"""
_REVOKED = """
    UPDATE access_keys k SET revoked_at = ended.revoked_at
    FROM unnest($1::text[], $2::text[], $3::timestamptz[])
        AS ended(tenant_id, key_id, revoked_at)
    WHERE k.key_id = ended.key_id AND k.tenant_id = ended.tenant_id AND k.revoked_at IS NULL
"""
_KEY = """
    SELECT tenant_id, key_id, name, role, secret_hash, permissions, created_at, created_by,
           expires_at, revoked_at
    FROM configtrail.access_keys
"""


_ROLES = frozenset(one.value for one in Role)


class AccessKey(Struct, frozen=True, kw_only=True):
    """A key, without what it is: only the hash of its secret."""

    tenant_id: str
    key_id: str
    name: str
    role: str
    secret_hash: str
    permissions: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def tenant(self) -> str:
        """Whose it is; `EVERY_TENANT` for all of them."""
        return granted_tenant(self.tenant_id)

    def grant(self) -> Grant:
        """What it allows: of permissions and roles that this program does not know, nothing."""
        if self.role not in _ROLES:
            return Grant(self.tenant, frozenset())
        only = frozenset(one for one in Permission if one.value in self.permissions)
        return granted(self.tenant, Role(self.role), only if self.permissions else None)


class AccessOps(Struct):
    """What a batch does to the table. `ended` are keys that were revoked, and when."""

    made: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    ended: dict[tuple[str, str], datetime] = field(default_factory=dict)


class Access:
    """The projection `access`."""

    name = "access"
    version = 2
    tables = TABLES
    ddl = DDL

    def fold(self, batch: Sequence[StoredEvent]) -> AccessOps:
        """What the batch does to the table."""
        ops = AccessOps()
        for stored in batch:
            match stored.event:
                case AccessKeyCreated() as event:
                    row = (
                        stored.tenant_id,
                        event.key_id,
                        storable(event.name),
                        storable(event.role),
                        event.secret_hash,
                        ",".join(event.permissions),
                        stored.occurred_at,
                        storable(event.actor),
                        # Others could not be kept, and neither could a key's end that comes later.
                        min(event.expires_at, LATEST) if event.expires_at else None,
                    )
                    ops.made.setdefault(event.key_id, row)
                case AccessKeyRevoked() as event:
                    ops.ended.setdefault((stored.tenant_id, event.key_id), stored.occurred_at)
                case _:
                    pass
        return ops

    async def write(self, connection: Connection, ops: AccessOps) -> None:
        """Bring that into the table."""
        if ops.made:
            await connection.execute(_MADE, *columns_of(list(ops.made.values()), 9))
        if ops.ended:
            rows = [(*key, at) for key, at in ops.ended.items()]
            await connection.execute(_REVOKED, *columns_of(rows, 3))


async def find_key(reader: Reader, key_id: str) -> AccessKey | None:
    """The key of that id, whoever's it is."""
    return struct(AccessKey, await reader.fetchrow(f"{_KEY} WHERE key_id = $1", key_id))


async def list_keys(
    reader: Reader,
    tenant_id: str,
    *,
    after: tuple[datetime, str] | None = None,
    limit: int | None = None,
) -> list[AccessKey]:
    """A tenant's keys, oldest first: all, or at most so many after one, by when it was made and its
    id. `tenant_id` as events have it."""
    query = (
        f"{_KEY} WHERE tenant_id = $1"
        " AND ($2::timestamptz IS NULL OR (created_at, key_id) > ($2, $3::text))"
        " ORDER BY created_at, key_id LIMIT $4"
    )
    place = after or (None, None)
    return structs(AccessKey, await reader.fetch(query, tenant_id, *place, limit))
