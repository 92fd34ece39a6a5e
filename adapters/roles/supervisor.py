"""Runs roles side by side: each a task that is owned and awaited; one that fails stops all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

Role = Callable[[], Awaitable[None]]


class RoleFailed(Exception):
    """A role ended with an error. The cause says why; `role` says which."""

    def __init__(self, role: str) -> None:
        super().__init__(f"the role {role} failed")
        self.role = role


@asynccontextmanager
async def running(roles: Mapping[str, Role]) -> AsyncIterator[None]:
    """Run roles while the block runs; at its end they are stopped and awaited.

    An error of a role cancels the block and leaves as `RoleFailed` in an exception group.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_run(name, role), name=f"role:{name}") for name, role in roles.items()
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _run(name: str, role: Role) -> None:
    log.info("role %s starts", name)
    try:
        await role()
    except asyncio.CancelledError:
        log.info("role %s stopped", name)
        raise
    except Exception as error:
        raise RoleFailed(name) from error
    raise RoleFailed(name) from RuntimeError("it ended without being asked to")
