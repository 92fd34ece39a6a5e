"""Who may ask: the keys of the API, tokens of an identity provider, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.access.authentication import Authenticator
from adapters.access.jwks import SigningKeys
from adapters.access.keys import BUCKET as KEY_USE
from adapters.access.keys import ApiKeys
from adapters.access.refusals import Refusals
from adapters.access.tokens import Tokens
from adapters.composition.stores import Stores
from adapters.settings import Settings
from projections.rows import Pool


@dataclass(frozen=True, slots=True)
class Access:
    """What knows requests again, and tells of those that were refused."""

    keys: ApiKeys
    refusals: Refusals
    authenticator: Authenticator


async def open_access(settings: Settings, stores: Stores, pool: Pool) -> Access:
    """The parts, connected."""
    keys = ApiKeys(stores.events, pool, await stores.bucket(KEY_USE))
    return Access(
        keys=keys,
        refusals=Refusals(stores.events),
        authenticator=Authenticator(keys, _tokens(settings), required=settings.auth == "on"),
    )


def _tokens(settings: Settings) -> Tokens | None:
    if settings.oidc_issuer is None:
        return None
    return Tokens(settings, SigningKeys(settings.oidc_issuer, settings.oidc_jwks_url))
