"""A program that does nothing but project, to be killed: `python -m tests.acceptance.projecting`.

Where its servers are it learns from the environment, as `configtrail up` does; and what Postgres
shows as its name.
"""

from __future__ import annotations

import asyncio
import os

from adapters.jetstream.connection import connect
from adapters.jetstream.source import JetStreamSource
from adapters.observability.logging import configure_logging
from adapters.postgres.pool import open_pool
from projections import ALL
from projections.builder import ProjectionBuilder
from projections.engine import ProjectionWorker
from projections.shared import SharedSource


async def main() -> None:
    configure_logging("WARNING")
    nc = await connect(os.environ["CONFIGTRAIL_NATS_URL"], name="projecting")
    source = JetStreamSource(nc, nc.jetstream(timeout=10))
    async with (
        open_pool(
            os.environ["CONFIGTRAIL_POSTGRES_DSN"],
            application_name=os.environ["APPLICATION_NAME"],
            max_size=24,
        ) as pool,
        asyncio.TaskGroup() as group,
    ):
        shared = SharedSource(source)
        for projection in ALL:
            group.create_task(ProjectionWorker(pool, shared, projection).run())
            group.create_task(ProjectionBuilder(pool, source, projection).run())


if __name__ == "__main__":
    asyncio.run(main())
