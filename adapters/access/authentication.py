"""From the credentials of a request to a principal."""

from __future__ import annotations

from collections.abc import Callable

from adapters.access.keys import PREFIX, ApiKeys
from adapters.access.tokens import Tokens
from domain.access import EVERY_TENANT, Principal, Role, granted
from domain.errors import Unauthenticated

# With CONFIGTRAIL_AUTH=off, on the loopback only: nobody knows who it is, and it may do everything.
ANYBODY = Principal(actor="user:anonymous", grants=(granted(EVERY_TENANT, Role.ADMIN),))
_MOST = 16 * 1024


class Authenticator:
    """Knows principals by API keys and, with an identity provider, by its tokens."""

    def __init__(self, keys: ApiKeys, tokens: Tokens | None, *, required: bool = True) -> None:
        self._keys = keys
        self._tokens = tokens
        self._required = required

    async def principal(
        self, authorization: str | None, guessed: Callable[[], None] | None = None
    ) -> Principal | None:
        """Whose the header is; None when there is none. Raises `Unauthenticated`.

        `guessed` is called before a key is looked up that was not known before; what it raises is
        raised."""
        if not self._required:
            return ANYBODY
        if authorization is None:
            return None
        scheme, _, credentials = authorization.partition(" ")
        credentials = credentials.strip()
        if scheme.lower() != "bearer" or not credentials or len(credentials) > _MOST:
            raise Unauthenticated("bad_credentials")
        if credentials.startswith(PREFIX) or self._tokens is None:
            return await self._keys.principal(credentials, guessed)
        return await self._tokens.principal(credentials)
