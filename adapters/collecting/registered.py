"""The inventory as the log has it."""

from __future__ import annotations

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.jetstream.latest import LatestEvents
from domain.events import (
    DeviceConfigured,
    DeviceRetired,
    DeviceSettings,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
)

TYPES = (DeviceConfigured, DeviceRetired)
KEY_TYPES = (HostKeyPinned, HostKeyChanged, HostKeyReleased)


async def registered_devices(
    nc: Client, js: JetStreamContext, tenant_id: str
) -> dict[str, DeviceSettings]:
    """The settings of the tenant's devices by id, as of now. Raises `Unavailable`."""
    found: dict[str, DeviceSettings] = {}
    for stored in await LatestEvents(nc, js, TYPES, tenant_id).load():
        match stored.event:
            case DeviceConfigured() as event:
                found[stored.device_id] = event.settings
            case DeviceRetired():
                found.pop(stored.device_id, None)
    return dict(sorted(found.items()))


async def host_keys(
    nc: Client, js: JetStreamContext, tenant_id: str
) -> dict[str, tuple[HostKeyPinned | None, HostKeyChanged | None]]:
    """The pinned and the refused host keys of the tenant's devices. Raises `Unavailable`."""
    found: dict[str, tuple[HostKeyPinned | None, HostKeyChanged | None]] = {}
    for stored in await LatestEvents(nc, js, KEY_TYPES, tenant_id).load():
        pinned = found.get(stored.device_id, (None, None))[0]
        match stored.event:
            case HostKeyPinned() as event:
                found[stored.device_id] = (event, None)
            case HostKeyChanged() as event:
                found[stored.device_id] = (pinned, event)
            case HostKeyReleased():
                found[stored.device_id] = (None, None)
    return dict(sorted(found.items()))
