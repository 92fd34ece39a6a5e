"""What the claims of a token grant, by rules of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from domain.access import EVERY_TENANT, Grant, Role, granted
from domain.errors import InvalidInput
from domain.ids import check_tenant_id

_FIELD = "CONFIGTRAIL_OIDC_GRANTS"


class Rule(Struct, frozen=True):
    """Tokens whose `claim` is, or holds, `value` are given this. A dot leads into an object."""

    claim: str
    value: str
    grant: Grant


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Rules `CLAIM=VALUE TENANT ROLE` with commas between. Raises `InvalidInput`."""
    return tuple(_rule(one) for one in text.split(",") if one.strip())


def grants_of(claims: Mapping[str, Any], rules: tuple[Rule, ...]) -> tuple[Grant, ...]:
    """What all rules that match grant together."""
    return tuple(one.grant for one in rules if one.value in _values(claims, one.claim))


def _rule(text: str) -> Rule:
    parts = text.split()
    claim, _, value = parts[0].partition("=")
    if len(parts) != 3 or not claim or not value:
        raise InvalidInput(_FIELD, "must be 'CLAIM=VALUE TENANT ROLE', with commas between")
    tenant = parts[1] if parts[1] == EVERY_TENANT else check_tenant_id(parts[1])
    roles = {one.value: one for one in Role}
    if parts[2] not in roles:
        raise InvalidInput(_FIELD, f"the role must be one of {', '.join(roles)}")
    return Rule(claim, value, granted(tenant, roles[parts[2]]))


def _values(claims: Mapping[str, Any], path: str) -> list[object]:
    found: Any = claims
    # A claim with a dot in its own name, such as a URL, goes before a path.
    for name in [path] if path in claims else path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, list) else [found]
