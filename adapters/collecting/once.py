"""Every device once, now: for schedulers that are not ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final, Literal

from msgspec import Struct

from adapters.collecting.collection import Collected, DeviceCollector, Failed
from adapters.collecting.places import Places
from adapters.composition import System
from adapters.importing.importer import wait_recorded
from adapters.jetstream.intake import IntakeFull
from domain.envelope import Head
from domain.errors import LeaseHeld, LeaseLost, Unavailable
from domain.events import DeviceSettings, DuplicateSkipped, SnapshotCreated
from domain.fields import JUMP_PLATFORM

log = logging.getLogger(__name__)

Outcome = Literal["new", "unchanged", "refused", "failed", "busy"]
GOOD: Final[tuple[Outcome, ...]] = ("new", "unchanged", "busy")


class Result(Struct, frozen=True, kw_only=True):
    """What came of one device. `kind` and `message` say why a reading failed; `busy`: somebody
    else was collecting it; `refused`: what was read became a dead letter."""

    device_id: str
    outcome: Outcome
    kind: str | None = None
    message: str | None = None
    size_bytes: int | None = None
    seconds: float | None = None
    snapshot_id: str | None = None


async def collect_once(
    system: System,
    collector: DeviceCollector,
    tenant_id: str,
    inventory: Mapping[str, DeviceSettings],
    *,
    only: frozenset[str],
    at_once: int,
    told: Callable[[str, int], None],
    registered: bool,
) -> list[Result]:
    """Collect all devices that are enabled (or the named ones), and wait until each reading is
    recorded. `registered`: the inventory is the registered one. `told` hears of the stages
    `collected` and `recorded`. A recorder must run somewhere.

    Raises `Unavailable`.
    """
    wanted = [
        name
        for name, one in inventory.items()
        if one.platform != JUMP_PLATFORM and (name in only if only else one.enabled)
    ]
    places = Places(at_once, patience=None)
    done = 0

    async def settings_of(name: str) -> DeviceSettings | None:
        return inventory.get(name)

    async def one(name: str) -> tuple[Head, Collected] | Result:
        nonlocal done
        way = await places.begin()
        found: tuple[Head, Collected] | Result
        try:
            head = (await system.devices.refresh(tenant_id, name)).head
            collected = await collector.collect(
                tenant_id,
                name,
                inventory[name],
                settings_of,
                source="scheduled",
                registered=registered,
                way=way,
            )
            found = head, collected
        except Failed as failure:
            found = Result(
                device_id=name, outcome="failed", kind=failure.kind, message=failure.reason
            )
        except (LeaseLost, IntakeFull) as error:
            found = Result(
                device_id=name, outcome="failed", kind="not_recorded", message=str(error)
            )
        except LeaseHeld as error:
            found = Result(
                device_id=name,
                outcome="busy",
                message=f"{error.holder} is collecting it{error.since}; if that was killed, it "
                f"is free again within {collector.lease_seconds:g} s",
            )
        except Unavailable:
            raise
        except Exception as error:
            # Whatever it is, the other devices go on.
            log.error("collecting %s/%s failed", tenant_id, name, exc_info=error)
            found = Result(
                device_id=name,
                outcome="failed",
                kind="unexpected",
                message=f"unexpected {type(error).__name__}: the program's log says where",
            )
        finally:
            way.leave()
        done += 1
        told("collected", done)
        return found

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(name)) for name in wanted]
    read = [task.result() for task in tasks]
    sent = [found[1].sequence for found in read if not isinstance(found, Result)]
    if sent:
        await wait_recorded(system, sent, told)
    return [
        found if isinstance(found, Result) else await _fact(system, tenant_id, *found)
        for found in read
    ]


async def _fact(system: System, tenant_id: str, head: Head, found: Collected) -> Result:
    """What the log says of a reading."""
    outcome: Outcome = "refused"
    snapshot_id = None
    branch = system.events.read_branch(tenant_id, found.device_id, head)
    async with aclosing(branch) as events:
        async for stored in events:
            if stored.event_id != found.event_id:
                continue
            match stored.event:
                case SnapshotCreated() as event:
                    outcome, snapshot_id = "new", event.snapshot_id
                case DuplicateSkipped() as event:
                    outcome, snapshot_id = "unchanged", event.snapshot_id
    refused = "it became a dead letter: configtrail deadletters"
    return Result(
        device_id=found.device_id,
        outcome=outcome,
        message=refused if outcome == "refused" else None,
        size_bytes=found.size_bytes,
        seconds=found.seconds,
        snapshot_id=snapshot_id,
    )
