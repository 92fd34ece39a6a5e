"""Why projections stand still, for every program to see and not only the one that tried.

A reason holds as long as the checkpoint is where it was then: whoever moves on needs not take it
back. It quotes nothing of an event.
"""

from __future__ import annotations

from typing import Any

from projections.projection import Projection
from projections.rows import Connection, Pool, Reader

_TELL = """
    INSERT INTO configtrail.stops (projection, position, reason)
    SELECT projection, position, $3 FROM configtrail.checkpoints
    WHERE projection = $1 AND position = $2
    ON CONFLICT (projection) DO UPDATE
    SET position = excluded.position, reason = excluded.reason
"""
_HOLDING = """
    SELECT projection, reason FROM configtrail.stops JOIN configtrail.checkpoints
    USING (projection, position)
"""
_OVER = "DELETE FROM configtrail.stops WHERE projection = $1"


async def tell(pool: Pool, projection: Projection[Any], position: int, reason: str) -> None:
    """Say why the projection takes in nothing behind `position`. Nothing is said when another
    program has got further meanwhile."""
    async with pool.acquire() as connection, connection.transaction():
        # What the reason is about may be in the way of telling it.
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        await connection.execute(_TELL, projection.name, position, reason)


async def over(connection: Connection | Pool, projection: Projection[Any]) -> None:
    """Take the reason back."""
    await connection.execute(_OVER, projection.name)


async def forget(connection: Connection | Pool) -> None:
    """Take all reasons back, of programs that are gone: where they still hold, they are told
    again."""
    await connection.execute("DELETE FROM configtrail.stops")


async def reasons(reader: Reader) -> dict[str, str]:
    """Why projections stand still, by name; those that don't are not in it."""
    return {one["projection"]: one["reason"] for one in await reader.fetch(_HOLDING)}
