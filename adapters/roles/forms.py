"""Canonical forms for the recorder, which remembers each device's last one: most exports are what
the one before was, but for the time above it, and need not be read again."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from msgspec import Struct

from adapters.lengths import INLINE_CHARACTERS
from adapters.roles.devices import STATES, DeviceKey
from domain.canonical.summary import Summary, beneath, parted, summarised


class _Last(Struct, frozen=True):
    """The last text of a device: of what it was, under which key, and what came of it."""

    platform: str
    digest: bytes
    key: bytes
    summary: Summary


class Forms:
    """The forms of texts as they come. Invariant: what is remembered changes no answer."""

    def __init__(self) -> None:
        self._last: OrderedDict[DeviceKey, _Last] = OrderedDict()

    async def summary(self, device: DeviceKey, key: bytes, text: str, platform: str) -> Summary:
        """What is to be recorded of a text's form, its fingerprint under the tenant's `key`."""
        if len(text) > INLINE_CHARACTERS:
            return await asyncio.to_thread(summarised, text, platform, key)
        parts = parted(text, platform)
        if parts is None:
            return summarised(text, platform, key)
        head, rest = parts
        digest = hashlib.sha256(rest.encode()).digest()
        last = self._last.get(device)
        if last is None or (last.platform, last.digest, last.key) != (platform, digest, key):
            last = _Last(platform, digest, key, summarised(rest, platform, key))
            self._last[device] = last
        self._last.move_to_end(device)
        while len(self._last) > STATES:
            self._last.popitem(last=False)
        return beneath(head, last.summary)
