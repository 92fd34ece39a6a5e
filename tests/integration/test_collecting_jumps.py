"""Devices behind jump hosts, whole: who logs in there, and what is told when one refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from adapters.collecting.collection import Collected, Failed
from adapters.roles.collector import Collector
from adapters.ssh.jumping import JumpHosts
from domain.events import (
    CollectionFailed,
    CollectionRecovered,
    Source,
)
from tests.collecting_stack import (
    ALICE,
    DEVICE,
    PASSWORD,
    TENANT,
    Stack,
    collecting,
    only,
    settings,
)
from tests.doubles import jump
from tests.doubles.routeros import RouterOSDouble, serving
from tests.support import eventually


@asynccontextmanager
async def jump_host(passwords: list[str], tried: list[str] | None = None) -> AsyncIterator[int]:
    """The port of a host to jump over, which takes these passwords (they may change)."""

    def accepts(username: str, password: str) -> bool:
        if tried is not None:
            tried.append(password)
        return password in passwords

    async with jump.jump_host(accepts) as port:
        yield port


async def test_a_device_behind_a_jump_host_of_the_inventory_is_collected(stack: Stack) -> None:
    async with jump_host([PASSWORD]) as port, serving(RouterOSDouble()) as double:
        await stack.collecting().collect(
            TENANT,
            DEVICE,
            settings(double.port, jump="gate"),
            only(gate=settings(port, platform="jump")),
            source="scheduled",
        )
    assert await stack.kinds() == ["HostKeyPinned"]
    assert await stack.kinds("gate") == ["HostKeyPinned"]


async def test_a_refused_login_at_a_jump_host_stops_no_device_behind_it(stack: Stack) -> None:
    """It is mended at the jump host: nothing of the device behind it changes then."""
    ahead = timedelta()
    role = Collector(
        stack.rig.nc,
        stack.rig.js,
        collecting=stack.collecting(jump_hosts=JumpHosts(lambda: ahead.total_seconds())),
        schedule=stack.schedule,
        trigger=stack.trigger(),
        metrics=stack.rig.metrics,
        at_once=8,
        clock=lambda: datetime.now(UTC) + ahead,
    )
    passwords, tried, others = list[str](), list[str](), [f"behind{n}" for n in range(3)]
    async with (
        jump_host(passwords, tried) as port,
        serving(RouterOSDouble()) as double,
        collecting(stack, role),
    ):
        gate = settings(port, platform="jump")
        await stack.registrar.configure(TENANT, "gate", gate, actor=ALICE)
        behind = settings(double.port, jump="gate")
        await stack.registrar.configure(TENANT, DEVICE, behind, actor=ALICE)
        for one in others:
            await stack.registrar.configure(TENANT, one, behind, actor=ALICE)
        for one in (DEVICE, *others):
            await eventually(partial(stack.count, CollectionFailed, one))
        assert len(tried) == 1, "each wrong login brings the account nearer to its lock"
        (failed,) = [
            one.event
            for one in await stack.rig.history(TENANT, DEVICE)
            if isinstance(one.event, CollectionFailed)
        ]
        assert failed.kind == "unreachable"
        assert "at the jump host gate" in failed.message
        passwords.append(PASSWORD)
        ahead = timedelta(minutes=2)
        await stack.registrar.configure(TENANT, "r2", settings(double.port), actor=ALICE)
        await eventually(lambda: stack.count(CollectionRecovered))


async def test_a_manual_backup_tries_a_jump_host_that_refused_a_moment_ago(stack: Stack) -> None:
    collector = stack.collecting()
    passwords, tried = list[str](), list[str]()
    async with jump_host(passwords, tried) as port, serving(RouterOSDouble()) as double:
        gate, behind = settings(port, platform="jump"), settings(double.port, jump="gate")

        async def read(source: Source) -> Collected:
            return await collector.collect(TENANT, DEVICE, behind, only(gate=gate), source=source)

        with pytest.raises(Failed, match="refuses the login"):
            await read("scheduled")
        passwords.append(PASSWORD)
        with pytest.raises(Failed, match="not asked by each device behind it"):
            await read("scheduled")
        assert len(tried) == 1
        await read("manual")
        await read("scheduled")


async def test_a_jump_host_refuses_a_login_only_with_the_credential_as_it_is_now(
    stack: Stack,
) -> None:
    collector = stack.collecting()
    secret = stack.folder / "gate"
    secret.write_text(PASSWORD)
    passwords = [PASSWORD]
    async with jump_host(passwords) as port, serving(RouterOSDouble()) as double:
        gate = settings(port, platform="jump", credential="file:gate", username="jumper")
        behind = settings(double.port, jump="gate")

        async def read() -> Collected:
            return await collector.collect(
                TENANT, DEVICE, behind, only(gate=gate), source="scheduled"
            )

        await read()
        secret.write_text("rotated")
        passwords[:] = ["rotated"]
        await read()
