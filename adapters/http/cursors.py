"""Cursors: where a listing goes on.

Opaque to whoever holds one, and bound to the listing and the filters that it was given for: one
that was altered, or is used elsewhere, is refused. They hold for as long as the deployment's keys.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec
from msgspec.json import Decoder

from adapters.crypto.keys import KeyRing
from adapters.shapes.out import Out, as_json
from domain.errors import InvalidInput
from domain.ids import keyed_digest
from projections.shown import Page

# A listing's name, its tenant, and the filters that it is asked with.
Listing: TypeAlias = tuple[object, ...]

CURSOR_MAX = 1_000
BY_ID: Decoder[str] = Decoder(str)
BY_POSITION: Decoder[int] = Decoder(int)
BY_TIME: Decoder[tuple[datetime, int]] = Decoder(tuple[datetime, int])
_MAC_BYTES = 16

T = TypeVar("T")
Kind = TypeVar("Kind", bound=Out)


class InvalidCursor(InvalidInput):
    """A cursor that was not given for this listing."""

    def __init__(self) -> None:
        super().__init__(
            "cursor",
            "must be one that this listing gave, with the same filters; begin without one",
        )


class Cursors:
    """Gives and takes cursors. The key is asked for once: pages go on while NATS is away."""

    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring
        self._key: bytes | None = None

    async def give(self, listing: Listing, place: object) -> str:
        """A cursor for a place in a listing."""
        body = msgspec.json.encode(place)
        return base64.urlsafe_b64encode(await self._mac(listing, body) + body).decode().rstrip("=")

    async def take(self, listing: Listing, given: str | None, kind: Decoder[T]) -> T | None:
        """The place that a cursor leads to, None without one. Raises `InvalidCursor`."""
        if given is None:
            return None
        try:
            raw = base64.b64decode(given + "=" * (-len(given) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidCursor from error
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, await self._mac(listing, body)):
            raise InvalidCursor
        try:
            return kind.decode(body)
        except msgspec.DecodeError as error:
            # Given by a program of another version, whose places have another form.
            raise InvalidCursor from error

    async def page(
        self, listing: Listing, found: Sequence[T], limit: int, place_of: Callable[[T], object]
    ) -> tuple[Sequence[T], str | None]:
        """The page of what was found, one more than its limit if there is more; and the cursor of
        what follows, None on the last page."""
        if len(found) <= limit:
            return found, None
        return found[:limit], await self.give(listing, place_of(found[limit - 1]))

    async def page_shown(
        self, listing: Listing, page: Page, limit: int, kind: type[Kind]
    ) -> tuple[list[Kind], str | None]:
        """The same of a page that is JSON of that kind already."""
        if len(page.items) <= limit:
            return as_json(page.items, kind), None
        return as_json(page.items[:limit], kind), await self.give(listing, page.last)

    async def page_of_names(
        self, listing: Listing, names: Iterable[str], limit: int, given: str | None
    ) -> tuple[Sequence[str], str | None]:
        """The same of all the names that there are, in their order. Raises `InvalidCursor`."""
        place = await self.take(listing, given, BY_ID)
        later = [one for one in sorted(names) if place is None or one > place]
        return await self.page(listing, later, limit, str)

    async def _mac(self, listing: Listing, body: bytes) -> bytes:
        if self._key is None:
            keys = await self._keyring.system()
            self._key = keyed_digest(keys.fingerprint_key, "cursors")
        return keyed_digest(self._key, "cursor", msgspec.json.encode(listing), body)[:_MAC_BYTES]
