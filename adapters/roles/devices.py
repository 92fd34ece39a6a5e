"""Devices as the roles use them: state from the event store, kept in memory, and `record`.

Several programs may record for one device at once: whoever appends second gets the newer events and
decides again, so a decision is always taken on the state that it was appended to.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing

from domain.device import DeviceState, History, evolve
from domain.envelope import NewEvent, StoredEvent
from domain.errors import AppendConflict
from domain.ports import EventStore

log = logging.getLogger(__name__)

Decide = Callable[[DeviceState], NewEvent | None]
DeviceKey = tuple[str, str]

STATES = 20_000
# Histories are only kept for devices with late arrivals; the bound is on observations in all.
HISTORY_OBSERVATIONS = 200_000


class DeviceRepository:
    """States of devices. Invariant: a kept state never goes back in its history."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._states: OrderedDict[DeviceKey, DeviceState] = OrderedDict()
        self._histories: OrderedDict[DeviceKey, tuple[int, History]] = OrderedDict()
        self._observations = 0

    async def load(self, tenant_id: str, device_id: str) -> DeviceState:
        """The device's state: the one kept in memory, which may lag behind, or a fresh one."""
        key = (tenant_id, device_id)
        state = self._states.get(key)
        if state is not None:
            self._states.move_to_end(key)
            return state
        return await self.refresh(tenant_id, device_id)

    async def refresh(self, tenant_id: str, device_id: str) -> DeviceState:
        """The device's state with all events that the store has by now."""
        state = self._states.get((tenant_id, device_id), DeviceState())
        branch = self._events.read_branch(tenant_id, device_id, state.head)
        async with aclosing(branch) as events:
            async for stored in events:
                state = evolve(state, stored)
        return self._keep((tenant_id, device_id), state)

    async def history(self, tenant_id: str, device_id: str, version: int) -> History:
        """All recorded observations of the device, at least up to `version` of its history."""
        key = (tenant_id, device_id)
        kept = self._histories.get(key)
        if kept is not None and kept[0] >= version:
            self._histories.move_to_end(key)
            return kept[1]
        async with aclosing(self._events.read_branch(tenant_id, device_id)) as branch:
            events = [stored async for stored in branch]
        history = History.of(events)
        self._keep_history(key, events[-1].version if events else 0, history)
        return history

    async def event_ids(self, tenant_id: str, device_id: str) -> frozenset[str]:
        """The ids of all events of the device, read anew."""
        async with aclosing(self._events.read_branch(tenant_id, device_id)) as branch:
            return frozenset([stored.event_id async for stored in branch])

    async def change(self, tenant_id: str, device_id: str, decide: Decide) -> StoredEvent | None:
        """As `record`, where nothing but what the store has by now may be decided on."""
        await self.refresh(tenant_id, device_id)
        return await self.record(tenant_id, device_id, decide)

    async def record(self, tenant_id: str, device_id: str, decide: Decide) -> StoredEvent | None:
        """Append what `decide` makes of the device's state; None when it makes nothing of it.

        `decide` is called again after every conflict. Raises what the event store raises.
        """
        state = await self.load(tenant_id, device_id)
        while True:
            event = decide(state)
            if event is None:
                return None
            try:
                return await self.append(event, state)
            except AppendConflict:
                state = await self.load(tenant_id, device_id)

    async def append(self, event: NewEvent, state: DeviceState) -> StoredEvent:
        """Append one event that was decided on `state`. Raises `AppendConflict`; the events that
        it brings are in the next state that `load` gives."""
        key = (event.tenant_id, event.device_id)
        try:
            stored = await self._events.append(event, state.head)
        except AppendConflict as conflict:
            for newer in conflict.newer:
                state = self._evolved(key, state, newer)
            self._keep(key, state)
            raise
        log.debug("recorded as %d", stored.position, extra={"event_id": stored.event_id})
        if stored.version == state.head.version + 1:
            self._keep(key, self._evolved(key, state, stored))
        else:
            # It landed in an attempt before, and others' events lie between: read them all.
            await self.refresh(*key)
        return stored

    def _evolved(self, key: DeviceKey, state: DeviceState, stored: StoredEvent) -> DeviceState:
        kept = self._histories.get(key)
        if kept is not None and stored.version == kept[0] + 1:
            self._keep_history(key, stored.version, kept[1].extended(stored))
        return evolve(state, stored)

    def _keep(self, key: DeviceKey, state: DeviceState) -> DeviceState:
        kept = self._states.get(key)
        if kept is not None and kept.head.version > state.head.version:
            return kept
        self._states[key] = state
        self._states.move_to_end(key)
        while len(self._states) > STATES:
            self._states.popitem(last=False)
        return state

    def _keep_history(self, key: DeviceKey, version: int, history: History) -> None:
        replaced = self._histories.pop(key, None)
        if replaced is not None:
            self._observations -= len(replaced[1].sightings)
        self._histories[key] = (version, history)
        self._observations += len(history.sightings)
        while self._observations > HISTORY_OBSERVATIONS and len(self._histories) > 1:
            _, (_, dropped) = self._histories.popitem(last=False)
            self._observations -= len(dropped.sightings)
