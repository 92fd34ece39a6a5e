"""Configtrail's own devices through the library: `repository.get("r1", version=7, …)`.

The events are those of the stream CONFIGTRAIL_EVENTS, for reading only: they satisfy the library's
`DomainEventProtocol`, and a device's state is folded from them by `project_device`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from eventsourcing.application import Repository
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    AggregateRecorder,
    EventStore,
    JSONTranscoder,
    Mapper,
    NotSupportedError,
    Recording,
)
from eventsourcing.persistence import StoredEvent as LibraryEvent
from msgspec import Struct

from adapters.eventsourcing.background import Background
from adapters.eventsourcing.errors import library_errors
from adapters.jetstream.event_store import JetStreamEventStore
from domain.device import DeviceState, evolve
from domain.envelope import StoredEvent

_READ_ONLY = "the history of devices is for reading: Configtrail's roles write it"


@contextmanager
def device_repository(
    url: str, tenant_id: str, *, timeout: float = 30.0
) -> Iterator[Repository[str]]:
    """A repository of a tenant's devices, at any version of their histories.

    It waits at most `timeout` seconds for the server and for each answer.
    """
    with library_errors():
        background = Background(url, name="configtrail-devices", timeout=timeout)
    try:
        store = JetStreamEventStore(background.nc, background.nc.jetstream())
        yield Repository(DeviceEvents(background, store, tenant_id))
    finally:
        background.close()


class DeviceAt(Struct, frozen=True):
    """A device as its history had it at a version."""

    id: str
    version: int
    state: DeviceState


def project_device(device: DeviceAt | None, events: Iterable[StoredEvent]) -> DeviceAt | None:
    """The device after the events, None without any: the library's projector function."""
    for stored in events:
        state = evolve(device.state if device else DeviceState(), stored)
        device = DeviceAt(stored.device_id, stored.version, state)
    return device


class DeviceEvents(EventStore[str]):
    """Events of one tenant's devices, as the library's repository asks for them."""

    def __init__(self, background: Background, store: JetStreamEventStore, tenant_id: str) -> None:
        super().__init__(Mapper(JSONTranscoder()), _NoRecorder())
        self._background = background
        self._store = store
        self._tenant_id = tenant_id

    def get(
        self,
        originator_id: str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Iterator[DomainEventProtocol[str]]:
        """The device's events in the order of versions."""
        with library_errors():
            found = self._background.call(self._read(originator_id, gt, lte))
        if desc:
            found.reverse()
        return iter(found[:limit])

    def put(
        self, domain_events: Sequence[DomainEventProtocol[str]], **kwargs: Any
    ) -> list[Recording[str]]:
        """Not supported."""
        raise NotSupportedError(_READ_ONLY)

    async def _read(self, device_id: str, gt: int | None, lte: int | None) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        async with aclosing(self._store.read_branch(self._tenant_id, device_id)) as branch:
            async for stored in branch:
                if lte is not None and stored.version > lte:
                    break
                if gt is None or stored.version > gt:
                    found.append(stored)
        return found


class _NoRecorder(AggregateRecorder):
    def insert_events(self, stored_events: Sequence[LibraryEvent], **kwargs: Any) -> None:
        raise NotSupportedError(_READ_ONLY)

    def select_events(self, *args: Any, **kwargs: Any) -> Sequence[LibraryEvent]:
        raise NotSupportedError(_READ_ONLY)
