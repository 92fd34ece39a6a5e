"""Read model `fleet`: a row a device, with what an operator looks for first.

When it was last read and last changed, its last failure, whether it was taken out of the inventory,
and the manual backups that have no end yet. How old a backup is depends on the clock, so the query
works it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias, assert_never

from msgspec import Struct, field

from domain.envelope import StoredEvent
from domain.events import (
    NO_DEVICE_EVENTS,
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
    GroupConfigured,
    GroupRemoved,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    LegalHoldPlaced,
    LegalHoldReleased,
    ManualBackupFinished,
    ManualBackupTriggered,
    RetentionPolicySet,
    SnapshotCreated,
    SnapshotRecanonicalised,
)
from domain.ids import TENANT_BRANCH
from projections import days
from projections.days import Days
from projections.rows import Connection, Reader, columns_of, storable, struct, structs

DDL = """
CREATE TABLE fleet (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    last_backup timestamptz,
    last_change timestamptz,
    last_failure_at timestamptz,
    last_failure_kind text,
    last_position bigint NOT NULL,
    retired boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, device_id)
) WITH (fillfactor = 70);
CREATE INDEX fleet_by_backup ON fleet (tenant_id, last_backup NULLS FIRST, device_id);

CREATE TABLE fleet_triggers (
    tenant_id text COLLATE "C" NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    trigger_id text COLLATE "C" NOT NULL,
    asked_at timestamptz NOT NULL,
    actor text NOT NULL,
    PRIMARY KEY (tenant_id, device_id, trigger_id)
);
"""

# greatest() passes over nulls. At the same time the failure recorded later counts.
UPSERT = """
    INSERT INTO fleet AS f
        (tenant_id, device_id, last_position, last_backup, last_change, last_failure_at,
         last_failure_kind)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[],
                         $5::timestamptz[], $6::timestamptz[], $7::text[])
    ON CONFLICT (tenant_id, device_id) DO UPDATE SET
        last_position = excluded.last_position,
        last_backup = greatest(f.last_backup, excluded.last_backup),
        last_change = coalesce(excluded.last_change, f.last_change),
        last_failure_at = greatest(f.last_failure_at, excluded.last_failure_at),
        last_failure_kind = CASE
            WHEN excluded.last_failure_at >= coalesce(f.last_failure_at, '-infinity')
            THEN excluded.last_failure_kind ELSE f.last_failure_kind END
"""

RETIRE = """
    UPDATE fleet f SET retired = told.retired
    FROM unnest($1::text[], $2::text[], $3::boolean[]) AS told(tenant_id, device_id, retired)
    WHERE f.tenant_id = told.tenant_id AND f.device_id = told.device_id
"""

# Nothing would ever end them.
FORGET_FAILURES = """
    UPDATE fleet f SET last_failure_at = NULL, last_failure_kind = NULL
    FROM unnest($1::text[], $2::text[]) AS gone(tenant_id, device_id)
    WHERE f.tenant_id = gone.tenant_id AND f.device_id = gone.device_id
"""

# Should an id be used twice, the first one counts.
ASK = """
    INSERT INTO fleet_triggers (tenant_id, device_id, trigger_id, asked_at, actor)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
    ON CONFLICT DO NOTHING
"""

END = """
    DELETE FROM fleet_triggers t
    USING unnest($1::text[], $2::text[], $3::text[]) AS ended(tenant_id, device_id, trigger_id)
    WHERE t.tenant_id = ended.tenant_id AND t.device_id = ended.device_id
      AND t.trigger_id = ended.trigger_id
"""

_MEMBER = """
    SELECT f.tenant_id, f.device_id, f.last_backup, f.last_change, f.last_failure_at,
           f.last_failure_kind, f.retired, open.trigger_id AS open_trigger_id,
           open.asked_at AS open_since, $2::timestamptz - f.last_backup AS age
    FROM configtrail.fleet f
    LEFT JOIN LATERAL (
        SELECT t.trigger_id, t.asked_at FROM configtrail.fleet_triggers t
        WHERE t.tenant_id = f.tenant_id AND t.device_id = f.device_id
        ORDER BY t.asked_at, t.trigger_id LIMIT 1
    ) open ON true
"""

# Those that wait longest for a backup first; those that never had one before all others.
LIST_FLEET = f"""
    {_MEMBER} WHERE f.tenant_id = $1
      AND ($6::text IS NULL
           OR (f.last_backup IS NULL AND $5::timestamptz IS NULL AND f.device_id > $6)
           OR (f.last_backup IS NOT NULL AND $5 IS NULL)
           OR (f.last_backup, f.device_id) > ($5, $6))
    ORDER BY f.last_backup NULLS FIRST, f.device_id LIMIT $3 OFFSET $4
"""

COUNT_STALE = """
    SELECT count(*) FROM configtrail.fleet
    WHERE tenant_id = $1 AND NOT retired AND (last_backup IS NULL OR last_backup < $2)
"""

GET_MEMBER = f"{_MEMBER} WHERE f.tenant_id = $1 AND f.device_id = $3"

Key: TypeAlias = tuple[str, str]


class Member(Struct, frozen=True, kw_only=True):
    """A device. `age` is that of its last backup, None when it never had one; `last_change` is
    when its current configuration was first seen; `retired` that it was taken out of the inventory;
    `open_…` is the oldest manual backup without an end."""

    tenant_id: str
    device_id: str
    last_backup: datetime | None
    last_change: datetime | None
    last_failure_at: datetime | None
    last_failure_kind: str | None
    retired: bool
    open_trigger_id: str | None
    open_since: datetime | None
    age: timedelta | None


class _Change(Struct):
    """What a batch says of one device."""

    last_position: int = 0
    last_backup: datetime | None = None
    last_change: datetime | None = None
    failure: CollectionFailed | None = None


class FleetOps(Struct):
    """What a batch does to the tables. Failures of the `forgotten` from before are over, those in
    `devices` are from after that. `ended` go first, then `asked` come."""

    devices: dict[Key, _Change] = field(default_factory=dict)
    retired: dict[Key, bool] = field(default_factory=dict)
    forgotten: set[Key] = field(default_factory=set)
    asked: dict[tuple[str, str, str], tuple[datetime, str]] = field(default_factory=dict)
    ended: set[tuple[str, str, str]] = field(default_factory=set)
    days: Days = field(default_factory=Days)


class Fleet:
    """The projection `fleet`."""

    name = "fleet"
    version = 3
    tables = ("fleet", "fleet_triggers", "fleet_days")
    ddl = DDL + days.DDL

    def fold(self, batch: Sequence[StoredEvent]) -> FleetOps:
        """What the batch does to the tables."""
        ops = FleetOps()
        for stored in batch:
            if isinstance(stored.event, NO_DEVICE_EVENTS):
                continue  # of no device
            if stored.device_id == TENANT_BRANCH:
                continue  # what is told of a tenant as a whole is no device
            key = (stored.tenant_id, stored.device_id)
            device = ops.devices.setdefault(key, _Change())
            device.last_position = stored.position
            match stored.event:
                case SnapshotCreated() as event:
                    _seen(device, event.collected_at)
                    ops.days.of(stored.tenant_id, event.collected_at).changed += 1
                    if event.successor is None:  # one that came late never was the current one
                        device.last_change = event.collected_at
                case DuplicateSkipped() as event:
                    _seen(device, event.collected_at)
                    ops.days.of(stored.tenant_id, event.collected_at).unchanged += 1
                case CollectionFailed() as event:
                    ops.days.of(stored.tenant_id, event.attempted_at).failed += 1
                    before = device.failure
                    if before is None or event.attempted_at >= before.attempted_at:
                        device.failure = event
                case DeviceRetired():
                    ops.retired[key] = True
                    ops.forgotten.add(key)
                    device.failure = None
                case DeviceConfigured():
                    ops.retired[key] = False
                case ManualBackupTriggered() as event:
                    asked = (stored.occurred_at, storable(event.actor))
                    ops.asked.setdefault((*key, event.trigger_id), asked)
                case ManualBackupFinished() as event:
                    ops.asked.pop((*key, event.trigger_id), None)
                    ops.ended.add((*key, event.trigger_id))
                case (
                    DiffGenerated()
                    | EventSkipped()
                    | SnapshotRecanonicalised()
                    | CollectionRecovered()
                    | GroupConfigured()
                    | GroupRemoved()
                    | CredentialSet()
                    | CredentialRemoved()
                    | HostKeyPinned()
                    | HostKeyChanged()
                    | HostKeyReleased()
                    | ContentRevealed()
                    | AccessKeyCreated()
                    | AccessKeyRevoked()
                    | AccessRefused()
                    | RetentionPolicySet()
                    | LegalHoldPlaced()
                    | LegalHoldReleased()
                    | ContentExpired()
                    | ContentShredded()
                ):
                    pass
                case _:
                    assert_never(stored.event)
        return ops

    async def write(self, connection: Connection, ops: FleetOps) -> None:
        """Bring that into the tables."""
        if ops.forgotten:
            await connection.execute(FORGET_FAILURES, *columns_of(sorted(ops.forgotten), 2))
        rows = [_row(key, change) for key, change in ops.devices.items()]
        await connection.execute(UPSERT, *columns_of(rows, 7))
        if ops.retired:
            retired = sorted((*key, now) for key, now in ops.retired.items())
            await connection.execute(RETIRE, *columns_of(retired, 3))
        await ops.days.write(connection)
        if ops.ended:
            await connection.execute(END, *columns_of(sorted(ops.ended), 3))
        if ops.asked:
            asked = [(*key, *value) for key, value in ops.asked.items()]
            await connection.execute(ASK, *columns_of(asked, 5))


def _seen(device: _Change, moment: datetime) -> None:
    if device.last_backup is None or moment > device.last_backup:
        device.last_backup = moment


def _row(key: Key, change: _Change) -> tuple[Any, ...]:
    failure = change.failure
    return (
        *key,
        change.last_position,
        change.last_backup,
        change.last_change,
        failure.attempted_at if failure else None,
        storable(failure.kind) if failure else None,
    )


async def list_fleet(
    reader: Reader,
    tenant_id: str,
    now: datetime,
    *,
    limit: int = 100,
    offset: int = 0,
    after: tuple[datetime | None, str] | None = None,
) -> list[Member]:
    """The tenant's devices, those that wait longest for a backup first. `after`: those behind the
    device with that last backup and id."""
    return structs(
        Member,
        await reader.fetch(LIST_FLEET, tenant_id, now, limit, offset, *(after or (None, None))),
    )


async def count_stale(reader: Reader, tenant_id: str, since: datetime) -> int:
    """How many devices that are not retired have no backup from a moment on."""
    count: int = await reader.fetchval(COUNT_STALE, tenant_id, since)
    return count


async def get_member(
    reader: Reader, tenant_id: str, device_id: str, now: datetime
) -> Member | None:
    """One device."""
    return struct(Member, await reader.fetchrow(GET_MEMBER, tenant_id, now, device_id))
