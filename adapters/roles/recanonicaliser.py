"""Recanonicalising: fingerprints of recorded snapshots under today's rules, from their texts.

History is not rewritten: each new fingerprint is an event of its own. Readings that come meanwhile
are recorded as ever.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import pairwise

from msgspec import Struct

from adapters.crypto.keys import KeyRing
from adapters.roles.devices import DeviceRepository
from domain.canonical.summary import summarised
from domain.decisions import recanonicalised
from domain.envelope import NewEvent
from domain.errors import AppendConflict, ContentMissing, KeyDestroyed
from domain.events import SnapshotCreated, SnapshotRecanonicalised
from domain.ports import ContentStore, EventStore


class Recanonicalised(Struct):
    """What became of a device's snapshots, by number.

    `alike` counts snapshots that are, by today's rules, the same configuration as the one before
    them: they stay, since they are history. `missing` are those without a text.
    """

    snapshots: int = 0
    renewed: int = 0
    already: int = 0
    missing: int = 0
    alike: int = 0


class Recanonicaliser:
    """Works out and records new fingerprints, device by device."""

    def __init__(
        self,
        *,
        events: EventStore,
        devices: DeviceRepository,
        content: ContentStore,
        keyring: KeyRing,
    ) -> None:
        self._events = events
        self._devices = devices
        self._content = content
        self._keyring = keyring

    async def device(
        self, tenant_id: str, device_id: str, *, actor: str, dry_run: bool = False
    ) -> Recanonicalised:
        """Bring all snapshots of a device to today's rules; again, it finds nothing to do.

        `dry_run`: only count. Raises what the stores raise.
        """
        done = Recanonicalised()
        fingerprints: list[tuple[str, str]] = []
        known = await self._known(tenant_id, device_id)
        for event, rules in known.values():
            done.snapshots += 1
            try:
                text = await self._content.get(tenant_id, device_id, "snapshot", event.content)
            except (ContentMissing, KeyDestroyed):
                done.missing += 1
                continue
            key = (await self._keyring.tenant(tenant_id)).fingerprint_key
            form = await asyncio.to_thread(summarised, text.decode(), event.platform, key)
            fingerprint = form.fingerprint
            fingerprints.append((form.rules, fingerprint))
            if rules == form.rules:
                done.already += 1
                continue
            done.renewed += 1
            if not dry_run:
                await self._append(
                    recanonicalised(
                        tenant_id,
                        device_id,
                        snapshot_id=event.snapshot_id,
                        fingerprint=fingerprint,
                        canonical=form.rules,
                        previous_canonical=rules,
                        actor=actor,
                        occurred_at=datetime.now(UTC),
                    )
                )
        done.alike = sum(one == two for one, two in pairwise(fingerprints))
        return done

    async def _known(
        self, tenant_id: str, device_id: str
    ) -> dict[str, tuple[SnapshotCreated, str]]:
        """The device's snapshots by id, in time order, with the rules of their fingerprint."""
        found: dict[str, tuple[SnapshotCreated, str]] = {}
        async with aclosing(self._events.read_branch(tenant_id, device_id)) as branch:
            async for stored in branch:
                match stored.event:
                    case SnapshotCreated() as event:
                        found[event.snapshot_id] = (event, event.canonical)
                    case SnapshotRecanonicalised() as event:
                        found[event.snapshot_id] = (found[event.snapshot_id][0], event.canonical)
                    case _:
                        pass
        return dict(sorted(found.items(), key=lambda one: one[1][0].collected_at))

    async def _append(self, event: NewEvent) -> None:
        """Append, whatever else is recorded for the device meanwhile, unless it is told already."""
        tenant_id, device_id = event.tenant_id, event.device_id
        state = await self._devices.refresh(tenant_id, device_id)
        while True:
            try:
                await self._devices.append(event, state)
            except AppendConflict as conflict:
                if event.event_id in {one.event_id for one in conflict.newer}:
                    return
                state = await self._devices.load(tenant_id, device_id)
            else:
                return
