"""By what an entry of a menu is known again in another version of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Key: TypeAlias = tuple[str, ...]

_BY_NAME: Final[tuple[Key, ...]] = (("name",),)
_ROUTE: Final[tuple[Key, ...]] = (
    ("dst-address", "gateway", "routing-table", "routing-mark"),
    ("dst-address", "routing-table", "routing-mark"),
)
_ADDRESS: Final[tuple[Key, ...]] = (("address", "interface"), ("address",))

# The first key is the entry's identity; by a further one it is known again when the first has
# changed, such as an address that moved to another interface.
_KEYS: Final[dict[str, tuple[Key, ...]]] = {
    "/interface bridge port": (("bridge", "interface"), ("interface",)),
    "/interface bridge vlan": (("bridge", "vlan-ids"), ("vlan-ids",)),
    "/interface list member": (("interface", "list"), ("interface",)),
    "/interface wireguard peers": (
        ("public-key", "interface"),
        ("name",),
        ("allowed-address", "interface"),
        ("comment", "interface"),
    ),
    "/ip address": _ADDRESS,
    "/ip arp": _ADDRESS,
    "/ip dhcp-client": (("interface",),),
    "/ip dhcp-server lease": (
        ("mac-address", "server"),
        ("client-id", "server"),
        ("address", "server"),
        ("mac-address",),
        ("address",),
    ),
    "/ip dhcp-server network": (("address",),),
    "/ip dns static": (("name", "type"), ("regexp", "type")),
    "/ip firewall address-list": (("list", "address"),),
    "/ip ipsec identity": (("peer", "remote-id"), ("peer",)),
    "/ip route": _ROUTE,
    "/ipv6 address": _ADDRESS,
    "/ipv6 dhcp-client": (("interface",),),
    "/ipv6 firewall address-list": (("list", "address"),),
    "/ipv6 route": _ROUTE,
    "/routing ospf interface-template": (("interfaces",), ("networks",)),
    "/snmp community": (("name",), ("addresses",)),
    "/system ntp client servers": (("address",),),
}
_COMMENTS: Final[tuple[Key, ...]] = (
    ("comment", "chain", "action"),
    ("comment", "chain"),
    ("comment",),
)


def keys(section: str, meanings: Mapping[str, str]) -> tuple[Key, ...]:
    """The keys by which an added entry is known, its identity first; empty when it has none."""
    # A default route of RouterOS 6 has no destination.
    if section.endswith(" route"):
        return _KEYS.get(section, _BY_NAME)
    return tuple(key for key in _KEYS.get(section, _BY_NAME) if key[0] in meanings)


def comment_keys() -> tuple[Key, ...]:
    """The keys by which entries without an identity are known."""
    return _COMMENTS


def value(meanings: Mapping[str, str], key: Key) -> tuple[str | None, ...]:
    """An entry's values for a key."""
    return tuple(map(meanings.get, key))
