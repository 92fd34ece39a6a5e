"""A tenant's days in numbers: a row a day, so that a chart costs the same at any length of history.

A day is one of UTC; a reading belongs to the day when it was made, however late it arrives.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from msgspec import Struct

from projections.rows import Connection, Reader, columns_of, structs

DDL = """
CREATE TABLE fleet_days (
    tenant_id text COLLATE "C" NOT NULL,
    day date NOT NULL,
    changed bigint NOT NULL,
    unchanged bigint NOT NULL,
    failed bigint NOT NULL,
    PRIMARY KEY (tenant_id, day)
) WITH (fillfactor = 70);
"""

ADD = """
    INSERT INTO fleet_days AS f (tenant_id, day, changed, unchanged, failed)
    SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[], $5::bigint[])
    ON CONFLICT (tenant_id, day) DO UPDATE SET
        changed = f.changed + excluded.changed,
        unchanged = f.unchanged + excluded.unchanged,
        failed = f.failed + excluded.failed
"""

LIST_DAYS = """
    SELECT day, changed, unchanged, failed FROM configtrail.fleet_days
    WHERE tenant_id = $1 AND day >= $2 AND day <= $3 ORDER BY day
"""

DayKey: TypeAlias = tuple[str, date]


class Day(Struct, frozen=True, kw_only=True):
    """So many readings showed a new configuration, or the known one, or failed."""

    day: date
    changed: int = 0
    unchanged: int = 0
    failed: int = 0


class Counts(Struct):
    """What a batch adds to a day."""

    changed: int = 0
    unchanged: int = 0
    failed: int = 0


class Days(dict[DayKey, Counts]):
    """What a batch adds, by tenant and day."""

    def of(self, tenant_id: str, moment: datetime) -> Counts:
        """What it adds to the day of a moment."""
        return self.setdefault((tenant_id, moment.astimezone(UTC).date()), Counts())

    async def write(self, connection: Connection) -> None:
        """Add it to the rows."""
        if self:
            rows: list[tuple[Any, ...]] = [
                (*key, one.changed, one.unchanged, one.failed) for key, one in sorted(self.items())
            ]
            await connection.execute(ADD, *columns_of(rows, 5))


async def list_days(reader: Reader, tenant_id: str, first: date, last: date) -> list[Day]:
    """The days from `first` to `last` on which anything was read, in order."""
    return structs(Day, await reader.fetch(LIST_DAYS, tenant_id, first, last))
