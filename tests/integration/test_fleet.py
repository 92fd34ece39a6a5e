"""The read model `fleet`, against what the events say when they are simply looked through."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.postgres.pool import open_pool
from domain.events import (
    CollectionFailed,
    DeviceConfigured,
    DeviceRetired,
    DuplicateSkipped,
    ManualBackupFinished,
    ManualBackupTriggered,
    SnapshotCreated,
)
from projections import FLEET
from projections.fleet import count_stale, get_member, list_fleet
from projections.writer import ProjectionWriter
from tests.generators import DEVICES, START, STREAM, pieces, played
from tests.listed import Listed

NOW = START + timedelta(days=3)


@pytest.mark.parametrize("seed", range(4))
async def test_a_row_a_device_says_what_an_operator_looks_for(postgres_dsn: str, seed: int) -> None:
    fleet = played(seed, 400)
    async with open_pool(postgres_dsn) as pool:
        writer = ProjectionWriter(pool, FLEET, Listed(fleet.events))
        await writer.prepare(STREAM)
        for batch in pieces(fleet.events, range(0, len(fleet.events), 17 + seed)):
            await writer.apply(batch)
        for tenant in ("acme", "globex"):
            listed = await list_fleet(pool, tenant, NOW)
            assert {one.device_id for one in listed} == {
                device for owner, device in DEVICES if owner == tenant
            }
            backups = [one.last_backup for one in listed if one.last_backup]
            assert backups == sorted(backups)
        for key in DEVICES:
            member = await get_member(pool, *key, NOW)
            assert member is not None
            events = [stored.event for stored in fleet.branch(key)]
            read = [one for one in events if isinstance(one, SnapshotCreated | DuplicateSkipped)]
            current = [
                one for one in events if isinstance(one, SnapshotCreated) and not one.successor
            ]
            gone = [n for n, one in enumerate(events) if isinstance(one, DeviceRetired)]
            since = max(gone, default=0)
            failures = [one for one in events[since:] if isinstance(one, CollectionFailed)]
            newest = max((one.collected_at for one in read), default=None)
            assert member.last_backup == newest
            assert member.age == (NOW - newest if newest else None)
            assert member.last_change == (current[-1].collected_at if current else None)
            last = max((one.attempted_at for one in failures), default=None)
            assert member.last_failure_at == last
            assert member.last_failure_kind == next(
                (one.kind for one in reversed(failures) if one.attempted_at == last), None
            )
            inventory = [one for one in events if isinstance(one, DeviceConfigured | DeviceRetired)]
            assert member.retired == isinstance(next(reversed(inventory), None), DeviceRetired)
            ended = {one.trigger_id for one in events if isinstance(one, ManualBackupFinished)}
            still_open = [
                one.trigger_id
                for one in events
                if isinstance(one, ManualBackupTriggered) and one.trigger_id not in ended
            ]
            assert (member.open_trigger_id in still_open) == bool(still_open)
            assert (member.open_since is None) == (not still_open)
        assert await get_member(pool, "acme", "nobody", NOW) is None
        for tenant in ("acme", "globex"):
            listed = await list_fleet(pool, tenant, NOW)
            stale = sum(not one.retired and (one.last_backup or START) < NOW for one in listed)
            assert await count_stale(pool, tenant, NOW) == stale
