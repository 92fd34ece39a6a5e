"""Tenants take turns at the process that compares: it knows no tenants itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any

from adapters.embedded.nats import EmbeddedNats
from domain.events import DiffGenerated
from tests.integration.test_recorder import NOON, export
from tests.rig import rig
from tests.support import eventually

BACKLOG = 40


class Held(Executor):
    """Comparisons that begin when they are let go, one by one, in the order in which they came."""

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.gone = 0
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.devices.append(args[0].device_id)
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def let_go(self) -> bool:
        """Let the first one go; False when none is there."""
        if not self._waiting:
            return False
        future, work = self._waiting.popleft()
        future.set_result(work())
        self.gone += 1
        return True


async def test_a_tenants_backlog_does_not_hold_up_another_ones_difference(
    nats_server: EmbeddedNats,
) -> None:
    async with rig(nats_server.url) as parts:
        devices = [("much", f"m{number}") for number in range(BACKLOG)] + [("little", "r1")]
        async with parts.recording():
            for tenant, device in devices:
                for hours in range(2):
                    text, moment = export(f"192.0.2.{hours}"), NOON + timedelta(hours=hours)
                    await parts.intake.publish(tenant, device, text, moment)
            await parts.intake_empty()

        async def told() -> bool:
            history = await parts.history("little", "r1")
            return isinstance(history[-1].event, DiffGenerated)

        held = Held()
        async with parts.diffing(workers=held):
            # As many at once as the process has one, and one ahead: the rest waits by tenant.
            await eventually(lambda: len(held.devices) == 2)
            while "r1" not in held.devices:
                await eventually(held.let_go)
            assert held.devices.index("r1") < BACKLOG / 2
            for _ in range(BACKLOG + 1 - held.gone):
                await eventually(held.let_go)
            await eventually(told)
