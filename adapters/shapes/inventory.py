"""How a device is read, as it is shown."""

from __future__ import annotations

from adapters.shapes.out import Out
from domain.events import DeviceSettings


class SettingsOut(Out):
    """How a device is read. `credential` says where a secret lies, never what it is. `origins` says
    where each setting comes from: the `device`, its `group`, the `file` that it came in with, or,
    as nobody said anything, the `default`."""

    device_id: str
    addresses: list[str]
    platform: str
    port: int
    username: str | None
    credential: str | None
    group: str | None
    jump: str | None
    interval_seconds: int
    timeout_seconds: int
    window: str | None
    secret_values: bool
    enabled: bool
    history: bool
    legacy: bool
    origins: dict[str, str]


def settings_out(device_id: str, settings: DeviceSettings, origins: dict[str, str]) -> SettingsOut:
    """The settings as the API shows them."""
    return SettingsOut(
        device_id=device_id,
        origins=origins,
        addresses=list(settings.addresses),
        **{
            name: getattr(settings, name)
            for name in SettingsOut.__struct_fields__
            if name not in ("device_id", "addresses", "origins")
        },
    )
