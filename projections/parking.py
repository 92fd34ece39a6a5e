"""Parked events: those that a live projection can't take in, and those of their devices after them.

Rows change only in transactions that hold the projection's checkpoint, so whoever writes knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import TypeAlias

from msgspec import Struct

from domain.ids import DEVICE_MAX, TENANT, TENANT_BRANCH
from projections.rows import Connection, Reader, columns_of, storable, struct, structs
from projections.source import Delivered, Unreadable

DeviceKey: TypeAlias = tuple[str, str]

# What is longer than any device's own id stands in the table by its beginning and its hash.
_MOST_BYTES = 4 * DEVICE_MAX
_BEGIN = 64
# Whose an event is whose subject names nobody: no tenant can have this id.
_NOBODY = "-"

_COLUMNS = """
    projection, position, tenant_id, device_id, event_id, type_name, error, attempts, parked_at
"""

_LIST = f"""
    SELECT {_COLUMNS} FROM configtrail.parked
    WHERE ($1::text IS NULL OR projection = $1) AND (error IS NOT NULL OR $2)
      AND (projection, position) > (coalesce($4, ''), coalesce($5::bigint, 0))
    ORDER BY projection, position LIMIT $3
"""

_COUNT = """
    SELECT projection, count(*) FILTER (WHERE error IS NOT NULL) AS parked,
           count(*) FILTER (WHERE error IS NULL) AS held
    FROM configtrail.parked GROUP BY projection
"""

_PARK = """
    INSERT INTO configtrail.parked AS p
        (projection, position, tenant_id, device_id, event_id, type_name, error)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (projection, tenant_id, device_id, position) DO UPDATE
    SET error = excluded.error, attempts = p.attempts + 1
    RETURNING attempts = 1
"""

# Of the events up to $2: devices with a parked one, and those of them behind which nothing came in.
_DEVICES = """
    SELECT count(*) FILTER (WHERE error IS NOT NULL) AS parked,
           count(*) FILTER (WHERE error IS NOT NULL AND position + place = $2 + 1) AS in_a_row
    FROM (SELECT position, error, row_number() OVER (ORDER BY position DESC) AS place
          FROM configtrail.parked WHERE projection = $1 AND position <= $2) AS parked
"""

_HOLD_BACK = """
    SELECT DISTINCT projection FROM configtrail.parked
    WHERE tenant_id = $1 AND ($2::text IS NULL OR device_id = $2) AND position <= $3
    ORDER BY projection
"""

_HOLD = """
    INSERT INTO configtrail.parked
        (projection, position, tenant_id, device_id, event_id, type_name)
    SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
    ON CONFLICT DO NOTHING
"""

_CHAIN = """
    SELECT position, error IS NOT NULL AS tried FROM configtrail.parked
    WHERE projection = $1 AND tenant_id = $2 AND device_id = $3
    ORDER BY position LIMIT $4
"""

_COUNT_OF_DEVICE = """
    SELECT count(*) FROM configtrail.parked
    WHERE projection = $1 AND tenant_id = $2 AND device_id = $3
"""

_FREE = """
    DELETE FROM configtrail.parked
    WHERE projection = $1 AND tenant_id = $2 AND device_id = $3 AND position = ANY($4)
"""


class Parked(Struct, frozen=True, kw_only=True):
    """An event that is not in the rows. `error` None: it waits for an earlier one of its device."""

    projection: str
    position: int
    tenant_id: str
    device_id: str
    event_id: str
    type_name: str
    error: str | None
    attempts: int
    parked_at: datetime


class ParkedDevices(Struct, frozen=True, kw_only=True):
    """How many devices have a parked event; `in_a_row`: without an event that came in meanwhile."""

    parked: int
    in_a_row: int


class ParkedCount(Struct, frozen=True, kw_only=True):
    """How many events a projection has parked, and how many wait for those."""

    projection: str
    parked: int
    held: int


def fit(text: str) -> str:
    """Text as this table and a skip hold it: without NUL, and not longer than any of ours is."""
    held = storable(text)
    raw = held.encode()
    if len(raw) <= _MOST_BYTES:
        return held
    return f"{held[:_BEGIN]}… (SHA-256 {sha256(raw).hexdigest()})"


def key_of(event: Delivered) -> DeviceKey:
    """Whose the event is, in the table: text that Postgres and its indexes can hold."""
    return fit(event.tenant_id), fit(event.device_id)


def skip_branch(event: Delivered) -> DeviceKey:
    """In whose history it is recorded that the event is skipped: its device's, if that can be one
    in the tables; else what is told of its tenant as a whole, or, of no tenant, of nobody."""
    own = (event.tenant_id, event.device_id)
    if not TENANT.match(event.tenant_id):
        return _NOBODY, TENANT_BRANCH
    return own if own == key_of(event) else (event.tenant_id, TENANT_BRANCH)


def skip_branches(event: Delivered) -> Sequence[DeviceKey]:
    """Where a skip of the event may be recorded: older programs knew its own history only."""
    own = (event.tenant_id, event.device_id)
    return list(dict.fromkeys((skip_branch(event), own)))


async def park(connection: Connection, projection: str, event: Delivered, error: str) -> bool:
    """Keep an event that can't be taken in, with the reason; False when it was kept already."""
    new: bool = await connection.fetchval(_PARK, projection, *_row(event)[:5], storable(error))
    return new


async def parked_devices(connection: Connection, projection: str, position: int) -> ParkedDevices:
    """How many devices have events parked, up to the position of one that was parked just now."""
    found = struct(ParkedDevices, await connection.fetchrow(_DEVICES, projection, position))
    assert found is not None
    return found


async def holding_back(
    reader: Reader, tenant_id: str, device_id: str | None, position: int
) -> list[str]:
    """The projections that lack events up to a position of the device, or of any of the tenant's
    (None), because they are parked or wait behind those."""
    found = await reader.fetch(_HOLD_BACK, tenant_id, device_id, position)
    return [name for (name,) in found]


async def hold(connection: Connection, projection: str, events: Sequence[Delivered]) -> None:
    """Keep events that wait for an earlier one of their device."""
    if events:
        await connection.execute(_HOLD, projection, *columns_of([_row(one) for one in events], 5))


async def devices(connection: Connection, projection: str) -> set[DeviceKey]:
    """The devices with parked events."""
    found = await connection.fetch(
        "SELECT DISTINCT tenant_id, device_id FROM configtrail.parked WHERE projection = $1",
        projection,
    )
    return {(tenant_id, device_id) for tenant_id, device_id in found}


async def chain(reader: Reader, projection: str, device: DeviceKey, limit: int) -> dict[int, bool]:
    """The positions of the device's first parked events, in order, and whether each is one that
    can't be taken in; the others wait for it."""
    found = await reader.fetch(_CHAIN, projection, *device, limit)
    return {one["position"]: one["tried"] for one in found}


async def count(reader: Reader, projection: str, device: DeviceKey) -> int:
    """How many of the device's events are parked, those that wait included."""
    found: int = await reader.fetchval(_COUNT_OF_DEVICE, projection, *device)
    return found


async def free(
    connection: Connection, projection: str, device: DeviceKey, positions: Sequence[int]
) -> None:
    """Forget events that are parked no more."""
    await connection.execute(_FREE, projection, *device, list(positions))


async def listed(
    reader: Reader,
    projection: str | None = None,
    *,
    waiting: bool = False,
    limit: int = 100,
    after: tuple[str, int] | None = None,
) -> list[Parked]:
    """Parked events in order, behind a place; `waiting`: with those that wait for an earlier
    one."""
    place = after or (None, None)
    return structs(Parked, await reader.fetch(_LIST, projection, waiting, limit, *place))


async def find(reader: Reader, projection: str, position: int) -> Parked | None:
    """The parked event at a position."""
    record = await reader.fetchrow(
        f"SELECT {_COLUMNS} FROM configtrail.parked WHERE projection = $1 AND position = $2",
        projection,
        position,
    )
    return struct(Parked, record)


async def counts(reader: Reader) -> dict[str, ParkedCount]:
    """How many are parked, by projection; those without any are not in it."""
    found = structs(ParkedCount, await reader.fetch(_COUNT))
    return {one.projection: one for one in found}


def _row(event: Delivered) -> tuple[int, str, str, str, str]:
    name = event.type_name if isinstance(event, Unreadable) else type(event.event).__name__
    return (event.position, *key_of(event), fit(event.event_id), fit(name))
