"""Policies of tenants for values that machines write, from a file.

    [[acme]]
    section = "/ip firewall address-list"
    level = "ignore"

    [[acme]]
    section = "/system scheduler"
    property = "comment"
    level = "low"

    [[acme]]
    platform = "ios"
    section = "interface Vlan10 > description"
    level = "low"

A tenant that is not in the file has the default policy; the rules of one that is come before it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.canonical import ROUTEROS
from domain.errors import InvalidInput
from domain.profiles import PROFILES
from domain.routeros.menus import whole_path
from domain.semantic.policy import DEFAULT, PolicyRule

_SETTING = "CONFIGTRAIL_POLICY_FILE"


class Policies(Struct, frozen=True):
    """The policies of all tenants."""

    by_tenant: Mapping[str, Sequence[PolicyRule]] = MappingProxyType({})

    def of(self, tenant_id: str) -> tuple[PolicyRule, ...]:
        """The rules of a tenant, in the order in which they are tried."""
        return (*self.by_tenant.get(tenant_id, ()), *DEFAULT)


def read_policies(path: Path | None) -> Policies:
    """The policies in a file; the default for everybody without one. Raises `InvalidInput`."""
    if path is None:
        return Policies()
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), dict[str, list[PolicyRule]])
    except OSError as error:
        raise InvalidInput(_SETTING, f"{path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InvalidInput(_SETTING, f"{path} is no policy file: {error}") from error
    return Policies(
        {
            tenant: [_in_force(path, tenant, rule) for rule in rules]
            for tenant, rules in found.items()
        }
    )


def _in_force(path: Path, tenant: str, rule: PolicyRule) -> PolicyRule:
    """A rule as it is compared with changes. Raises `InvalidInput` for one that holds for none."""
    if rule.platform == ROUTEROS:
        return _by_menu(path, tenant, rule)
    if rule.platform not in PROFILES:
        raise InvalidInput(
            _SETTING,
            f"{path} has a rule of {tenant} for the platform {rule.platform!r}, of whose changes "
            f"nothing is told; write one of {', '.join((ROUTEROS, *PROFILES))}",
        )
    if rule.property is not None:
        raise InvalidInput(
            _SETTING,
            f"{path} has a rule of {tenant} for a property of {rule.platform}, whose lines have "
            "none: write how the line begins at the end of its section",
        )
    lines = [" ".join(line.split()) for line in rule.section.split(" > ")]
    if not all(lines):
        raise InvalidInput(
            _SETTING,
            f"{path} has a rule of {tenant} for {rule.section!r}, which is no place in a text of "
            f"{rule.platform}: write it as 'interface Vlan10 > description'",
        )
    return replace(rule, section=" > ".join(lines))


def _by_menu(path: Path, tenant: str, rule: PolicyRule) -> PolicyRule:
    """A rule whose menu is written as in changes, with blanks: in any other form it holds for
    none. Lines before the first menu have an empty one."""
    menu = whole_path(rule.section) if rule.section else ""
    if menu is None:
        raise InvalidInput(
            _SETTING,
            f"{path} has a rule of {tenant} for {rule.section!r}, which is no menu: "
            "write it as '/ip dns static'",
        )
    return replace(rule, section=menu)
