"""Where the secrets of RouterOS stand."""

from __future__ import annotations

import re
from typing import Final

from msgspec.structs import replace

from domain.errors import NotUnderstood
from domain.redaction.hashing import Redactor
from domain.redaction.inside import redact_inside
from domain.routeros.statements import Property, Statement, parse, render

_KEYS: Final = """
ah-key auth-key authentication-key bgp-key cak encryption-key esp-auth-key esp-enc-key lns-key
management-protection-key md5-key netserver-key network-key nv2-preshared-key pre-shared-key
preshared-key private-key private-pre-shared-key psk shared-key sim-pin static-sta-private-key
tcp-md5-key tls-auth-key trap-community wpa-pre-shared-key wpa2-pre-shared-key wpa3-pre-shared-key
"""
_SECRET_KEYS: Final = frozenset(_KEYS.split())
# Names that end so, perhaps with a number: `static-key-0`, `mschapv2-password`, `ipsec-secret`.
_SECRET_NAME = re.compile(
    r"(?:.*-)?(?:password|passwd|passphrase|secret|secrets|static-key|pin)(?:-?[0-9])?\Z"
)
# Names that are secret in one menu only.
_IN_MENU: Final = frozenset(
    (
        ("/snmp community", "name"),
        ("/container envs", "value"),
        ("/zerotier", "identity"),
        ("/system script environment", "value"),
        ("/routing rip keys", "key"),
        ("/ip ipsec key", "key"),
    )
)
_KEY_MENU = re.compile(r"/.*\b(?:keys|key-chain|keychain)\b")
# How some menus write that there is none.
_UNSET: Final = "none"
_BY_NAME = re.compile(r'(?<=name=)("(?:[^"\\]|\\.)*"|[^\s"\]]+)')


def is_secret(menu: str, name: str) -> bool:
    """Whether a property's value is a secret."""
    last = name.rpartition(".")[2]
    return (
        last in _SECRET_KEYS
        or _SECRET_NAME.match(last) is not None
        or (menu, name) in _IN_MENU
        or (last == "key" and _KEY_MENU.match(menu) is not None)
    )


def redact_value(menu: str, name: str, value: str, redactor: Redactor) -> str:
    """A property's value as written, without what is secret in it."""
    if is_secret(menu, name):
        return value if value == _UNSET else redactor.secret(value)
    return redact_inside(value, redactor.secret)


def redact_statement(menu: str, statement: Statement, redactor: Redactor) -> Statement:
    """A statement without its secrets; itself when it has none."""
    properties = tuple(_redacted(menu, one, redactor) for one in statement.properties)
    selector = statement.selector
    if selector:
        selector = _redacted_selector(menu, selector, redactor)
    if properties == statement.properties and selector == statement.selector:
        return statement
    return replace(statement, properties=properties, selector=selector)


def redact_line(menu: str, line: str, redactor: Redactor) -> str:
    """A logical line, with or without its menu's path, without its secrets.

    A line that is not understood is hidden as a whole: nobody knows what is secret in it.
    """
    try:
        statement = parse(line)
    except NotUnderstood:
        return redactor.hidden(line)
    shown = redact_statement(menu, statement, redactor)
    return line if shown is statement else render(shown)


def _redacted(menu: str, one: Property, redactor: Redactor) -> Property:
    if one.value is None:
        return one
    value = redact_value(menu, one.name, one.value, redactor)
    return one if value == one.value else replace(one, value=value)


def _redacted_selector(menu: str, selector: str, redactor: Redactor) -> str:
    if (menu, "name") in _IN_MENU:
        bare = selector.strip(" \t")
        if "[" in bare:
            return _BY_NAME.sub(lambda found: redactor.secret(found[0]), selector)
        if not bare.isdigit() and not bare.startswith("*"):
            return selector[: len(selector) - len(bare)] + redactor.secret(bare)
    return redact_inside(selector, redactor.secret)
