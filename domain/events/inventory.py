"""Which devices there are and how they are read: settings, groups, credentials."""

from __future__ import annotations

from msgspec import Struct

from domain.events.fact import Fact


class DeviceSettings(Struct, frozen=True, kw_only=True):
    """How a device is to be read, with the defaults of its group filled in. Never a secret:
    `credential` only says where one lies (`env:NAME`, `file:PATH`, `store:NAME`, `vault:PATH`,
    `agent`). `jump` names the device that leads there; `window` is when readings may begin, in UTC.
    `history`: when it changed, it is asked who did that; `legacy`: weak ciphers and key exchanges
    are accepted of it.
    """

    addresses: tuple[str, ...]
    platform: str = "routeros"
    port: int = 22
    username: str | None = None
    credential: str | None = None
    group: str | None = None
    jump: str | None = None
    interval_seconds: int = 21_600
    timeout_seconds: int = 300
    window: str | None = None
    secret_values: bool = True
    enabled: bool = True
    history: bool = False
    legacy: bool = False


class GivenSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Those of a device's settings that somebody gave; None: not given. What they are is said at
    `DeviceSettings`."""

    platform: str | None = None
    port: int | None = None
    username: str | None = None
    credential: str | None = None
    jump: str | None = None
    interval_seconds: int | None = None
    timeout_seconds: int | None = None
    window: str | None = None
    secret_values: bool | None = None
    enabled: bool | None = None
    history: bool | None = None
    legacy: bool | None = None


class DeviceConfigured(Fact, frozen=True, kw_only=True, tag="DeviceConfigured"):
    """The inventory says how a device is to be read, from now on. `origin` is where from.

    `settings` is what it came to when it was told. Whoever has `own` works it out anew whenever
    the device's group changes: `own` is what was given for the device itself and stands before all,
    then comes what its group gives, and then `fallback`, what its file gives for all its devices.
    Without `own` all settings are the device's own.
    """

    change_id: str
    settings: DeviceSettings
    origin: str | None = None
    own: GivenSettings | None = None
    fallback: GivenSettings | None = None


class DeviceRetired(Fact, frozen=True, kw_only=True, tag="DeviceRetired"):
    """A device is not read any more. Its history stays."""

    change_id: str
    reason: str | None = None


class GroupConfigured(Fact, frozen=True, kw_only=True, tag="GroupConfigured"):
    """What a group gives its devices, from now on, in place of all that it gave before."""

    change_id: str
    group: str
    defaults: GivenSettings
    origin: str | None = None
    reason: str | None = None


class GroupRemoved(Fact, frozen=True, kw_only=True, tag="GroupRemoved"):
    """A group gives its devices nothing any more."""

    change_id: str
    group: str
    reason: str | None = None


class CredentialSet(Fact, frozen=True, kw_only=True, tag="CredentialSet"):
    """A credential `store:<name>` was set. Recorded before it can be used; never what it is.

    `place` is where the secret lies: `store` (encrypted under the tenant's key), or the reference
    that it stands for (`env:NAME`, `file:PATH`, `vault:PATH`, `agent`). `holds` are the kinds of
    things in it, such as `password`. `rotated`: it took the place of one of that name.
    """

    change_id: str
    name: str
    place: str
    holds: tuple[str, ...] = ()
    rotated: bool = False
    reason: str | None = None


class CredentialRemoved(Fact, frozen=True, kw_only=True, tag="CredentialRemoved"):
    """A credential was removed. `used_by` counts the devices that name it still."""

    change_id: str
    name: str
    used_by: int = 0
    reason: str | None = None
