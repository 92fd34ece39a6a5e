"""What is asked in tests of reading over HTTP, and of what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.serving import HOME, NOON, TEXTS, Api

DEVICES = ("=cmd", "r1", "r2", "site/ü")
LISTINGS = (
    (HOME, "items"),
    (f"{HOME}/r1/snapshots", "items"),
    (f"{HOME}/r1/validity", None),
    (f"{HOME}/r1/config-history", None),
    ("/api/tenants/acme/fleet", None),
    ("/api/tenants/acme/changes", "items"),
    ("/api/tenants/acme/changes?section=/ip%20address", "items"),
    ("/api/tenants/acme/changes?section=/ip/address", "items"),
    ("/api/tenants/acme/audit-logs?per_page=2", "items"),
)


async def four_devices(api: Api) -> None:
    """Four devices, r1 with three configurations an hour apart."""
    for hours, text in enumerate(TEXTS):
        await api.system.intake.publish("acme", "r1", text, NOON + timedelta(hours=hours))
    for device in DEVICES:
        if device != "r1":
            await api.system.intake.publish("acme", device, TEXTS[0], NOON)
    await api.settled()


def ageless(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what depends on the clock."""
    return [{name: one[name] for name in one if name != "age_seconds"} for one in items]
