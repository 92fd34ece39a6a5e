"""The keys of an identity provider: fetched, kept a while, fetched anew for one not seen yet."""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from adapters.outgoing import straight
from domain.errors import InvalidInput, Unavailable

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]

KEPT_SECONDS = 3600.0
# However many tokens name keys that there are not, the provider is asked once in this time.
PAUSE_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 512 * 1024
_DISCOVERY = "/.well-known/openid-configuration"
_WHO = "the identity provider"


class SigningKeys:
    """The keys of one issuer, by their ids.

    Invariant: while nobody knows whether a key is the issuer's, the answer is `Unavailable`, and
    neither yes nor no.
    """

    def __init__(
        self,
        issuer: str,
        url: str | None = None,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for one in (issuer, url):
            if one is not None and not _is_safe(one):
                raise InvalidInput(
                    "CONFIGTRAIL_OIDC_ISSUER and CONFIGTRAIL_OIDC_JWKS_URL",
                    "must begin with https:// (http:// only on this machine), and name no user",
                )
        self._issuer = issuer
        self._url = url
        self._fetch = fetch or _fetched
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._reachable = False
        self._turn = asyncio.Lock()

    async def get(self, key_id: str) -> Key | None:
        """The key of that id; None when the issuer has none. Raises `Unavailable`."""
        if self._is_fresh and key_id in self._keys:
            return self._keys[key_id]
        async with self._turn:
            if self._is_fresh and key_id in self._keys:
                return self._keys[key_id]
            if self._clock() - self._tried_at >= PAUSE_SECONDS or (
                self._reachable and not self._is_fresh
            ):
                await self._refresh()
            if not self._reachable or not self._is_fresh:
                raise Unavailable(_WHO, "its keys can't be fetched")
            return self._keys.get(key_id)

    @property
    def _is_fresh(self) -> bool:
        return self._clock() - self._fetched_at < KEPT_SECONDS

    async def _refresh(self) -> None:
        self._tried_at, self._reachable = self._clock(), False
        try:
            url = self._url or await self._discovered()
            said: Any = msgspec.json.decode(await self._fetch(url))
            found = [key for one in list(said["keys"]) if (key := _understood(one)) is not None]
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            msgspec.DecodeError,
            http.client.HTTPException,
        ) as error:
            raise Unavailable(
                _WHO, f"its keys can't be fetched ({type(error).__name__})"
            ) from error
        self._keys = {one.kid: one for one in found if one.kid is not None}
        self._fetched_at, self._reachable = self._tried_at, True

    async def _discovered(self) -> str:
        said: Any = msgspec.json.decode(await self._fetch(self._issuer.rstrip("/") + _DISCOVERY))
        url = said["jwks_uri"]
        if said["issuer"] != self._issuer or not isinstance(url, str) or not _is_safe(url):
            raise ValueError("it says something else of itself")
        return url


def _understood(said: Any) -> Key | None:
    """A key of the set; None for one of a kind that is not known here, or that lacks a part: by RFC
    7517 the others count all the same."""
    try:
        return JWKRegistry.import_key(said)
    except (ValueError, KeyError, TypeError, JoseError) as error:
        named = said.get("kid") if isinstance(said, dict) else None
        log.warning("a key of the identity provider is passed over: %.40r: %r", named, type(error))
        return None


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    # A user and a password could not be used, and would be quoted by errors.
    safe = bool(parts.hostname) and "@" not in parts.netloc
    return safe and (parts.scheme == "https" or (parts.scheme == "http" and local))


_opener = straight()


async def _fetched(url: str) -> bytes:
    return await asyncio.to_thread(_fetched_now, url)


def _fetched_now(url: str) -> bytes:
    with _opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        body: bytes = answer.read(_MOST_BYTES + 1)
    if len(body) > _MOST_BYTES:
        raise ValueError("too long")
    return body
