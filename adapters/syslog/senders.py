"""Which device a message comes from: by its source address, or by name when a relay sends it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from adapters.resolving import addresses_of
from domain.events import DeviceSettings
from domain.fields import JUMP_PLATFORM

Key = tuple[str, str]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FRESH_SECONDS: Final = 300.0


class Senders:
    """Devices by address and by name. Only they and the `relays` are heard."""

    def __init__(
        self, devices: Callable[[], Mapping[Key, DeviceSettings]], relays: Sequence[Network]
    ) -> None:
        self._devices = devices
        self._relays = tuple(relays)
        self._known: Mapping[Key, DeviceSettings] = {}
        self._resolved_at = -FRESH_SECONDS
        self._by_address: dict[str, set[Key]] = {}
        self._by_name: dict[str, set[Key]] = {}

    def find(self, address: str, host: str | None) -> set[Key]:
        """The devices that a message may be from; none when its source is not heard.

        A relay's word about the name counts; a device's own does only among those of its address.
        """
        source = _plain(address)
        here = self._by_address.get(source, set())
        named = self._by_name.get(host.lower(), set()) if host else set()
        if here:
            return here & named or here
        return named if self._is_relay(source) else set()

    def hears(self, address: str) -> bool:
        """Whether a message of this address may be from any device."""
        source = _plain(address)
        return source in self._by_address or self._is_relay(source)

    def _is_relay(self, source: str) -> bool:
        return any(ipaddress.ip_address(source) in one for one in self._relays)

    async def refresh(self) -> None:
        """Look the devices' addresses up again, when they are others now or it was long ago."""
        loop = asyncio.get_running_loop()
        devices = {
            key: one for key, one in self._devices().items() if one.platform != JUMP_PLATFORM
        }
        if devices == self._known and loop.time() < self._resolved_at + FRESH_SECONDS:
            return
        by_address: dict[str, set[Key]] = {}
        by_name: dict[str, set[Key]] = {}
        for key, settings in devices.items():
            for name in (key[1], *settings.addresses):
                by_name.setdefault(name.lower(), set()).add(key)
                by_name.setdefault(name.lower().partition(".")[0], set()).add(key)
            for name in settings.addresses:
                for address in await _addresses(name):
                    by_address.setdefault(address, set()).add(key)
        self._by_address, self._by_name = by_address, by_name
        self._known, self._resolved_at = devices, loop.time()


async def _addresses(name: str) -> set[str]:
    try:
        return {_plain(one) for one in await addresses_of(name)}
    except (OSError, UnicodeError):
        return set()


def _plain(address: str) -> str:
    """The address without a zone, an IPv4 one in IPv6 as IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
