"""Properties of RouterOS that hold secrets."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from domain.redaction.names import speaks

_KEYS: Final = """
ah-key auth-key authentication-key bgp-key cak encryption-key esp-auth-key esp-enc-key lns-key
management-protection-key md5-key netserver-key network-key nv2-preshared-key paypal-signature
pin-number pre-shared-key preshared-key private-key private-pre-shared-key psk shared-key sim-pin
static-sta-private-key tcp-md5-key tls-auth-key trap-community wpa-pre-shared-key
wpa2-pre-shared-key wpa3-pre-shared-key
"""
_SECRET_KEYS: Final = frozenset(_KEYS.split())
# Names that end so, perhaps with a number: `static-key-0`, `mschapv2-password`, `ipsec-secret`.
_SECRET_NAME = re.compile(
    r"(?:.*-)?(?:password|passwd|passphrase|secret|secrets|static-key|pin|puk)(?:-?[0-9])?\Z"
)
# Names that only sound so: whether there are cookies, and which of some keys is used.
_NONE: Final = frozenset(("add-mac-cookie", "static-transmit-key"))
# Names that are secret in one menu only.
_IN_MENU: Final = frozenset(
    (
        ("/snmp community", "name"),
        ("/snmp community", "numbers"),
        ("/container envs", "value"),
        ("/zerotier", "identity"),
        ("/system script environment", "value"),
        ("/routing rip keys", "key"),
        ("/ip ipsec key", "key"),
        ("/system ntp key", "key"),
        ("/system ntp key", "value"),
    )
)
# Menus and names that are longer together are not: a text may have thousands of them.
_REMEMBERED: Final = 256
_MENUS: Final = frozenset(menu for menu, _ in _IN_MENU)
_KEY_MENU = re.compile(r"/(?!user ssh-keys).*\b(?:keys|key-chain|keychain)\b")


# Every other name of a secret has one of these in it, or one of `names.STEMS`; so has a script that
# names one of the menus.
STEMS: Final = r"cak|zerotier|envs|environment"


def is_secret(menu: str, name: str) -> bool:
    """Whether a property's value is a secret."""
    if len(menu) + len(name) > _REMEMBERED:
        return _is_secret(menu, name)
    return _remembered(menu, name)


def _is_secret(menu: str, name: str) -> bool:
    last = name.rpartition(".")[2]
    if last in _NONE:
        return False
    return (
        last in _SECRET_KEYS
        or _SECRET_NAME.match(last) is not None
        or (menu, name) in _IN_MENU
        or (last == "key" and _KEY_MENU.match(menu) is not None)
        or speaks(last)
    )


_remembered = lru_cache(maxsize=8192)(_is_secret)


def is_named_by_secret(menu: str) -> bool:
    """Whether the names of a menu's entries are secrets."""
    return (menu, "numbers") in _IN_MENU


@lru_cache(maxsize=4096)
def has_secret_names(menu: str) -> bool:
    """Whether names that say nothing by themselves are secret in a menu."""
    return menu in _MENUS or _KEY_MENU.match(menu) is not None
