"""The event store in memory does what every event store does."""

from __future__ import annotations

import pytest

from adapters.memory import MemoryEventStore
from domain.ports import EventStore
from tests.behaviour.event_store import EventStoreBehaviour, Stores


class MemoryStores(Stores):
    def __init__(self) -> None:
        self._store = MemoryEventStore()

    @property
    def store(self) -> EventStore:
        return self._store

    async def another(self) -> EventStore:
        return self._store

    async def recreate(self) -> None:
        await self._store.recreate()


class TestMemoryEventStore(EventStoreBehaviour):
    @pytest.fixture
    def stores(self) -> Stores:
        return MemoryStores()
