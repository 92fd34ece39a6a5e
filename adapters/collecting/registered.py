"""The inventory as the log has it."""

from __future__ import annotations

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.jetstream.latest import LatestEvents
from domain.events import DeviceConfigured, DeviceRetired, DeviceSettings

TYPES = (DeviceConfigured, DeviceRetired)


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
