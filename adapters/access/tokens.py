"""Tokens of an identity provider (JWT, RFC 9068): whose they are, for whom, and until when."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwt import JWTClaimsRegistry

from adapters.access.grants import grants_of, parse_rules
from adapters.access.jwks import SigningKeys
from adapters.settings import Settings
from domain.access import Principal
from domain.errors import InvalidInput, Unauthenticated

_TOKEN_MAX = 16 * 1024
_KEY_ID_MAX = 256
_ACTOR_MAX = 200
# The last of the year 9999.
_LAST_DAY = 253_402_214_400
# Only what is signed with a private key: with a shared secret whoever checks could sign as well.
_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}) | frozenset(
    {"ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)


class Tokens:
    """Checks tokens of one issuer."""

    def __init__(
        self,
        settings: Settings,
        keys: SigningKeys,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not settings.oidc_issuer or not settings.oidc_audience:
            raise InvalidInput(
                "CONFIGTRAIL_OIDC_ISSUER and CONFIGTRAIL_OIDC_AUDIENCE",
                "must both be set, or neither",
            )
        self._keys = keys
        self._algorithms = sorted(_listed(settings.oidc_algorithms))
        if not self._algorithms or not _ALGORITHMS.issuperset(self._algorithms):
            raise InvalidInput(
                "CONFIGTRAIL_OIDC_ALGORITHMS", f"must be of {', '.join(sorted(_ALGORITHMS))}"
            )
        self._types = {one.lower() for one in _listed(settings.oidc_types)}
        self._actor_claim = settings.oidc_actor_claim
        self._rules = parse_rules(settings.oidc_grants)
        self._now = now
        self._leeway = settings.oidc_leeway_seconds
        self._keys_hold = timedelta(days=settings.oidc_key_days)
        self._issuer, self._audience = settings.oidc_issuer, settings.oidc_audience

    async def principal(self, token: str) -> Principal:
        """Whose token it is. Raises `Unauthenticated`, and `Unavailable` when the issuer's keys
        can't be had."""
        try:
            claims = await self._claims(token)
            # It may say a time beyond all dates.
            until = datetime.fromtimestamp(min(claims["exp"], _LAST_DAY) + self._leeway, UTC)
        except ExpiredTokenError:
            raise Unauthenticated("expired") from None
        except (JoseError, ValueError, TypeError):
            # Without the cause: it quotes the token.
            raise Unauthenticated("bad_credentials") from None
        actor = claims.get(self._actor_claim)
        if not isinstance(actor, str) or not actor.strip() or len(actor) > _ACTOR_MAX - 10:
            raise Unauthenticated("bad_credentials")
        if not actor.isprintable() or actor != actor.strip():
            raise Unauthenticated("bad_credentials")
        return Principal(
            actor=f"user:{actor}",
            grants=grants_of(claims, self._rules),
            # A token ends within the hour; whom it names may be gone within the year.
            keys_until=datetime.fromtimestamp(self._now(), UTC) + self._keys_hold,
            until=until,
        )

    async def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > _TOKEN_MAX:
            raise ValueError("too long")
        header: object = jws.extract_compact(token.encode()).headers()
        if not isinstance(header, dict):
            raise ValueError("not a header")
        key_id, kind = header.get("kid"), header.get("typ")
        if header.get("alg") not in self._algorithms or "crit" in header:
            raise ValueError("not an accepted algorithm")
        if not isinstance(kind, str) or _short_type(kind) not in self._types:
            raise ValueError("not an accepted type")
        if not isinstance(key_id, str) or not 0 < len(key_id) <= _KEY_ID_MAX:
            raise ValueError("no key id")
        key = await self._keys.get(key_id)
        if key is None or key.is_private or (key.get("use") or "sig") != "sig":
            raise ValueError("no such key")
        read = jwt.decode(token, key, algorithms=self._algorithms)
        now = int(self._now())
        JWTClaimsRegistry(
            now=now,
            leeway=int(self._leeway),
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(read.claims)
        return read.claims


def _short_type(kind: str) -> str:
    return kind.lower().removeprefix("application/")


def _listed(text: str) -> set[str]:
    return {one.strip() for one in text.split(",")} - {""}
