"""Where wrapped keys are kept, as the key ring sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from msgspec import Struct


class Wrapped(Struct, frozen=True):
    """Wrapped keys as the store has them, by name."""

    name: str
    wrapped: bytes


class WrappedKeyStore(Protocol):
    """Where wrapped keys lie, by name: a tenant's, or a device's (`device_key_name`). All of these
    raise `Unavailable` during an outage."""

    async def get(self, name: str) -> bytes | None:
        """The wrapped keys as the store last took them; None when it never had any of that name.

        Raises `KeyDestroyed` when they were destroyed.
        """
        ...

    async def create(self, name: str, wrapped: bytes) -> bool:
        """Keep the first wrapped keys of a name. False, and nothing done, when it ever had any.

        Returns when they are durable.
        """
        ...

    async def replace(self, name: str, wrapped: bytes, by: bytes) -> bool:
        """Keep `by` in place of `wrapped`, which is destroyed. False, and nothing done, when
        `wrapped` is not what the store holds.

        Returns when it is durable. Broken off it may leave both: then `by` counts, and
        `destroy_replaced` ends it.
        """
        ...

    async def destroy_replaced(self, name: str) -> None:
        """Destroy what a `replace` that was broken off left behind."""
        ...

    async def names(self) -> list[str]:
        """All names that have wrapped keys, without those of devices."""
        ...

    def devices(self) -> AsyncGenerator[list[Wrapped], None]:
        """All wrapped keys of devices, also those that are left behind by a `replace`."""
        ...

    async def of_device(self, tenant_id: str, device_id: str) -> list[str]:
        """The names of a device's keys, also of destroyed ones."""
        ...

    async def destroy(self, name: str) -> None:
        """Remove wrapped keys for good, so that none of that name can ever be made again. Done
        twice it is done once."""
        ...
