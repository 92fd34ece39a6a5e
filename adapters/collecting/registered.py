"""The inventory as the log has it: devices, and what their groups give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.jetstream.latest import LatestEvents, LeftOut, Told
from domain.credentials import credential_of, reference_to, stored_name
from domain.errors import EventsUnread, NotFound
from domain.events import (
    CredentialRemoved,
    CredentialSet,
    DeviceConfigured,
    DeviceRetired,
    DeviceSettings,
    GivenSettings,
    GroupConfigured,
    GroupRemoved,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
)
from domain.groups import group_branch, group_of, origins, settings_now

TYPES: Final = (DeviceConfigured, DeviceRetired, GroupConfigured, GroupRemoved, CredentialSet)
CREDENTIAL_TYPES: Final = (CredentialSet, CredentialRemoved)
KEY_TYPES: Final = (HostKeyPinned, HostKeyChanged, HostKeyReleased)

Key = tuple[str, str]


class Registry:
    """Devices and groups of tenants, kept up to date by their events, which may come again.

    `left_out`: the branches of which the newest event can't be read, and why. Such a device has no
    settings, nor have those of such a group, until another event says how it is.
    `doubted`: the same of credentials, of which what is stored is used.
    """

    def __init__(self) -> None:
        self.devices: dict[Key, DeviceConfigured] = {}
        self.groups: dict[Key, GivenSettings] = {}
        self.left_out: dict[Key, str] = {}
        self.doubted: dict[Key, str] = {}
        self._credentials: dict[Key, str] = {}
        self._retired: dict[Key, int] = {}
        self._positions: dict[Key, int] = {}

    def apply(self, stored: Told) -> list[Key]:
        """Take an event in; the devices that it may mean something for."""
        branch = (stored.tenant_id, stored.device_id)
        if stored.position <= self._positions.get(branch, 0):
            return []
        self._positions[branch] = stored.position
        if isinstance(stored, LeftOut):
            return self._leave_out(branch, stored)
        self.left_out.pop(branch, None)
        self.doubted.pop(branch, None)
        match stored.event:
            case DeviceConfigured() as event:
                self.devices[branch] = event
                return [branch]
            case DeviceRetired():
                self.devices.pop(branch, None)
                self._retired[branch] = stored.position
                return [branch]
            case GroupConfigured() as event:
                self.groups[stored.tenant_id, event.group] = event.defaults
                return list(self._members(stored.tenant_id, event.group))
            case GroupRemoved() as event:
                self.groups.pop((stored.tenant_id, event.group), None)
                return list(self._members(stored.tenant_id, event.group))
            case CredentialSet() as event:
                self._credentials[stored.tenant_id, event.name] = event.change_id
                return list(self._users(stored.tenant_id, reference_to(event.name)))
            case _:
                return []

    def settings(self, key: Key) -> DeviceSettings | None:
        """A device's settings as they are now; None when it is not in the inventory."""
        told = self.devices.get(key)
        if told is None:
            return None
        group = told.settings.group
        if told.own is not None and group and (key[0], group_branch(group)) in self.left_out:
            return None
        return settings_now(told, self.groups.get((key[0], group or "")))

    def _leave_out(self, branch: Key, event: LeftOut) -> list[Key]:
        credential, group = credential_of(branch[1]), group_of(branch[1])
        if credential is not None:
            # What is stored counts, and not what is told of it: it may be another one now.
            self.doubted[branch] = event.reason
            self._credentials[branch[0], credential] = f"event {event.position}"
            return list(self._users(branch[0], reference_to(credential)))
        self.left_out[branch] = event.reason
        if group is not None:
            self.groups.pop((branch[0], group), None)
            return list(self._members(branch[0], group))
        self.devices.pop(branch, None)
        return [branch]

    def secret_of(self, key: Key) -> str:
        """A mark of the stored credential that a device has: another one once it was set anew, or
        the device was taken out, which ended its failures, and is back."""
        settings = self.settings(key)
        name = stored_name(settings.credential) if settings is not None else None
        secret = "" if name is None else self._credentials.get((key[0], name), "")
        retired = self._retired.get(key)
        return secret if retired is None else f"{secret} back since {retired}"

    def _users(self, tenant_id: str, reference: str) -> Iterator[Key]:
        for key in self.devices:
            settings = self.settings(key) if key[0] == tenant_id else None
            if settings is not None and settings.credential == reference:
                yield key

    def _members(self, tenant_id: str, group: str) -> Iterator[Key]:
        for key, told in self.devices.items():
            if key[0] == tenant_id and told.settings.group == group:
                yield key


class Inventory(Struct, frozen=True):
    """A tenant's devices as they were told, and its groups, by name. `left_out`: the branches of
    those of which the newest event can't be read, and why; they are there, and may be anything.
    `waiting` are devices whose group is one of them: how they are now can't be told."""

    devices: Mapping[str, DeviceConfigured]
    groups: Mapping[str, GivenSettings]
    left_out: Mapping[str, str] = {}
    waiting: Mapping[str, DeviceConfigured] = {}

    def settings(self) -> dict[str, DeviceSettings]:
        """The settings of the devices as they are now."""
        return {name: settings_now(told, self._group(told)) for name, told in self.devices.items()}

    @property
    def told(self) -> dict[str, DeviceConfigured]:
        """All devices of which it can be read how they were told."""
        return {**self.devices, **self.waiting}

    def device(self, name: str) -> tuple[DeviceSettings, dict[str, str]]:
        """A device's settings, and where each comes from. Raises `NotFound`, and `EventsUnread`
        where it is not known whether there is such a device, or how it is."""
        if name in self.devices:
            told = self.devices[name]
            return settings_now(told, self._group(told)), self.origins(name)
        unread = self.unread()
        if name in unread:
            raise EventsUnread(f"how {name} is to be read", {name: unread[name]})
        raise NotFound("device in the inventory", name)

    @property
    def unread_devices(self) -> dict[str, str]:
        """The devices of which nothing can be told, and why."""
        return {name: why for name, why in self.left_out.items() if group_of(name) is None}

    def unread(self, setting: str | None = None) -> dict[str, str]:
        """The devices of which can't be told how they are, or (`setting`) what that one is; and
        why."""
        found = self.unread_devices
        for name, told in self.waiting.items():
            if setting is None or getattr(told.own, setting) is None:
                found[name] = self.left_out[group_branch(told.settings.group or "")]
        return dict(sorted(found.items()))

    def origins(self, name: str) -> dict[str, str]:
        """Where each setting of a device comes from."""
        told = self.devices[name]
        return origins(told, self._group(told))

    def members(self, group: str) -> list[str]:
        """The devices of a group, as far as they can be read."""
        return sorted(name for name, told in self.told.items() if told.settings.group == group)

    def users(self, credential: str) -> list[str]:
        """The devices that are known to have a credential, by its reference."""
        return [name for name, one in self.known("credential").items() if one == credential]

    def known(self, setting: str) -> dict[str, object]:
        """What a setting is, for all devices but those that are `unread` in it."""
        found = {name: getattr(one, setting) for name, one in self.settings().items()}
        for name, told in self.waiting.items():
            own = getattr(told.own, setting)
            if own is not None:
                found[name] = own
        return dict(sorted(found.items()))

    def _group(self, told: DeviceConfigured) -> GivenSettings | None:
        return self.groups.get(told.settings.group or "")


async def registered_inventory(nc: Client, js: JetStreamContext, tenant_id: str) -> Inventory:
    """The tenant's inventory as of now. Raises `Unavailable`."""
    found = Registry()
    for stored in await LatestEvents(nc, js, TYPES, tenant_id).load():
        found.apply(stored)
    known: dict[str, DeviceConfigured] = {}
    waiting: dict[str, DeviceConfigured] = {}
    for key, told in sorted(found.devices.items()):
        (waiting if found.settings(key) is None else known)[key[1]] = told
    return Inventory(
        devices=known,
        groups={name: found.groups[tenant, name] for tenant, name in sorted(found.groups)},
        # A subject that names nobody is of no device that could be in use.
        left_out={
            name: found.left_out[tenant, name]
            for tenant, name in sorted(found.left_out)
            if tenant == tenant_id
        },
        waiting=waiting,
    )


async def told_credentials(
    nc: Client, js: JetStreamContext, tenant_id: str
) -> dict[str, tuple[datetime, CredentialSet]]:
    """When and how the tenant's credentials were last set, by name, unless they were removed.
    Raises `Unavailable`."""
    found: dict[str, tuple[datetime, CredentialSet]] = {}
    for stored in await LatestEvents(nc, js, CREDENTIAL_TYPES, tenant_id).load():
        if isinstance(stored, LeftOut):
            found.pop(credential_of(stored.device_id) or "", None)
            continue
        match stored.event:
            case CredentialSet() as event:
                found[event.name] = (stored.occurred_at, event)
            case CredentialRemoved() as event:
                found.pop(event.name, None)
    return dict(sorted(found.items()))


class HostKeys(Struct, frozen=True):
    """A device's host keys: the pinned one, the one that it was refused for, and the fingerprint
    that the next one must have."""

    pinned: HostKeyPinned | None = None
    refused: HostKeyChanged | None = None
    expected: str | None = None


async def host_keys(nc: Client, js: JetStreamContext, tenant_id: str) -> dict[str, HostKeys]:
    """The host keys of the tenant's devices. Raises `Unavailable`."""
    found: dict[str, HostKeys] = {}
    for stored in await LatestEvents(nc, js, KEY_TYPES, tenant_id).load():
        name = stored.device_id
        if isinstance(stored, LeftOut):
            found.pop(name, None)
            continue
        match stored.event:
            case HostKeyPinned() as event:
                found[name] = HostKeys(pinned=event)
            case HostKeyChanged() as event:
                found[name] = replace(found.get(name, HostKeys()), refused=event)
            case HostKeyReleased() as event:
                found[name] = HostKeys(expected=event.expected_fingerprint)
    return dict(sorted(found.items()))
