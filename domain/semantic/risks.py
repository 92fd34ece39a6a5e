"""Changes that deserve a look before others, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from domain.routeros.statements import Statement
from domain.routeros.vocabulary import SCRIPTS
from domain.semantic.changes import Change
from domain.semantic.outside import NAMED_OUTSIDE
from domain.semantic.told import Risk

TAGS: Final = (
    "management-access",
    "input-chain",
    "protection",
    "zones",
    "wan-nat",
    "wan-address",
    "routes",
    "users",
    "tunnels",
    "services",
    "resolver",
    "scripts",
    "logging",
)
_MANAGEMENT_PORTS: Final = (21, 22, 23, 80, 443, 8291, 8728, 8729)
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?\Z")
# Whole menus, with those below them.
_MENUS: Final = (
    (
        Risk("management-access", "it decides how the device is managed"),
        "/ip service|/ip ssh|/tool mac-server|/tool romon|/ip neighbor discovery-settings|"
        "/system device-mode|/tr069-client",
    ),
    (
        Risk("services", "it decides which services the device offers"),
        "/ip cloud|/ip nat-pmp|/ip proxy|/ip service|/ip smb|/ip socks|/ip upnp|/snmp|"
        "/interface l2tp-server server|/interface ovpn-server server|/tool bandwidth-server|"
        "/interface pptp-server server|/interface sstp-server server",
    ),
    (
        Risk("users", "it decides who may log in, or what they may do"),
        "/user|/ppp secret|/radius",
    ),
    (
        Risk("tunnels", "it decides who gets in from outside, and which way traffic goes there"),
        "/interface wireguard|/ip ipsec|/interface eoip|/interface gre|/interface ipip|"
        "/interface l2tp-client|/interface ovpn-client|/interface sstp-client|/interface vxlan",
    ),
    (
        Risk("routes", "it decides which way traffic goes"),
        "/routing|/ip route rule",
    ),
    (
        Risk("zones", "rules of the firewall go by these lists"),
        "/interface list",
    ),
    (
        Risk("logging", "it decides what is recorded of the device's doings, and where"),
        "/system logging",
    ),
    (
        Risk("wan-address", "the device gets its address towards the provider this way"),
        "/ip dhcp-client|/interface pppoe-client|/interface lte",
    ),
)
_TRUSTED = re.compile(r"admin|allow|manage|mgmt|trust|safe|white", re.IGNORECASE)
_LIMITS: Final = ("drop", "reject", "tarpit")
# What changes nothing of what a rule does to traffic.
_ONLY_TOLD: Final = frozenset(("comment", "log", "log-prefix"))
# What a rule may have without being about only some of the traffic.
_LOOKS_AT_NOTHING: Final = frozenset(
    ("action", "chain", "comment", "disabled", "log", "log-prefix")
)
# Chains that have nothing to do with the device itself, unless a rule sends traffic elsewhere.
_PASSING: Final = frozenset(("forward", "output", "postrouting", "srcnat"))


def risks(change: Change, outside: frozenset[str] = frozenset()) -> tuple[Risk, ...]:
    """What a change may do to the device's safety, by menus and properties; in words of ours.

    `outside` are the interfaces that are known to lead there.
    """
    entries = [one for one in (change.before, change.after) if one is not None]
    found = dict.fromkeys(
        risk for entry in entries for risk in _of_entry(change.section, entry, change, outside)
    )
    return tuple(found)


def _of_entry(
    section: str, entry: Statement, change: Change, outside: frozenset[str]
) -> Iterator[Risk]:
    for risk, menus in _MENUS:
        if any(section == menu or section.startswith(f"{menu} ") for menu in menus.split("|")):
            yield risk
    if (of_section := _OF_SECTION.get(section)) is not None:
        yield from of_section(entry, change, outside)
    if any(one.name in SCRIPTS and one.value for one in entry.properties):
        yield Risk("scripts", "it holds commands that the device carries out by itself")


def _of_rule(entry: Statement, change: Change, _: frozenset[str]) -> Iterator[Risk]:
    chain = entry.get("chain") or ""
    if chain in ("input", "prerouting"):
        yield Risk("input-chain", "the chain decides what may reach the device itself")
    if chain not in _PASSING and _names_management(entry, "dst-port"):
        yield Risk("management-access", "the rule names ports by which the device is managed")
    if chain not in ("input", "forward", "prerouting"):
        return
    action = entry.get("action") or "accept"
    only_told = change.kind == "modified" and {one.name for one in change.properties} <= _ONLY_TOLD
    if action in _LIMITS and change.kind not in ("added", "enabled") and not only_told:
        yield Risk("protection", "a rule that keeps traffic out changed, moved, or is gone")
    works = entry is change.after and entry.get("disabled") != "yes"
    if action == "accept" and works and not _looks_at(entry):
        yield Risk("protection", "the rule lets in whatever comes to it")


def _of_nat(entry: Statement, change: Change, outside: frozenset[str]) -> Iterator[Risk]:
    action = entry.get("action")
    if action in ("dst-nat", "netmap", "redirect"):
        yield Risk("wan-nat", "the rule makes something inside reachable from elsewhere")
        if _names_management(entry, "dst-port") or _names_management(entry, "to-ports"):
            yield Risk("management-access", "the rule names ports by which devices are managed")
    elif action in ("masquerade", "src-nat"):
        ways = [entry.get(name) for name in ("out-interface", "out-interface-list")]
        if any(_outward(way, outside) for way in ways):
            yield Risk("wan-nat", "the rule decides under which address the inside goes out")
        elif entry is change.after and not any(ways) and entry.get("disabled") != "yes":
            yield Risk("wan-nat", "the rule goes for traffic over any interface")


def _of_list(entry: Statement, _: Change, __: frozenset[str]) -> Iterator[Risk]:
    if _TRUSTED.search(entry.get("list") or ""):
        yield Risk("management-access", "the list is named as one of addresses that are trusted")


def _of_resolver(entry: Statement, change: Change, _: frozenset[str]) -> Iterator[Risk]:
    names = {one.name for one in change.properties or entry.properties}
    if "allow-remote-requests" in names:
        yield Risk("services", "it decides whether others may ask the device's resolver")
    if not names.isdisjoint(("servers", "use-doh-server", "verify-doh-cert")):
        yield Risk("resolver", "it decides whose answers about names are believed")


def _of_address(entry: Statement, _: Change, outside: frozenset[str]) -> Iterator[Risk]:
    if _outward(entry.get("interface"), outside):
        yield Risk("wan-address", "the interface leads to the outside")


def _of_port(entry: Statement, _: Change, outside: frozenset[str]) -> Iterator[Risk]:
    if _outward(entry.get("interface"), outside):
        yield Risk("zones", "the interface leads to the outside, and is bridged with others")


def _of_route(entry: Statement, _: Change, __: frozenset[str]) -> Iterator[Risk]:
    if entry.get("dst-address") in (None, "0.0.0.0/0", "::/0"):
        yield Risk("wan-address", "it is a default route")
    else:
        yield Risk("routes", "it decides which way traffic goes")


_OF_SECTION: Final[dict[str, Callable[[Statement, Change, frozenset[str]], Iterator[Risk]]]] = {
    "/interface bridge port": _of_port,
    "/ip address": _of_address,
    "/ip dns": _of_resolver,
    "/ip firewall address-list": _of_list,
    "/ip firewall filter": _of_rule,
    "/ip firewall nat": _of_nat,
    "/ip firewall raw": _of_rule,
    "/ip route": _of_route,
    "/ipv6 address": _of_address,
    "/ipv6 firewall address-list": _of_list,
    "/ipv6 firewall filter": _of_rule,
    "/ipv6 firewall nat": _of_nat,
    "/ipv6 firewall raw": _of_rule,
    "/ipv6 route": _of_route,
}


def _names_management(entry: Statement, name: str) -> bool:
    """Whether ports by which devices are managed are among those that a rule names."""
    for part in (entry.get(name) or "").removeprefix("!").split(","):
        found = _PORTS.match(part)
        if found is not None:
            first, last = int(found[1]), int(found[2] or found[1])
            if any(first <= port <= last for port in _MANAGEMENT_PORTS):
                return True
    return False


def _looks_at(entry: Statement) -> bool:
    """Whether a rule is about some of the traffic only."""
    return any(one.name not in _LOOKS_AT_NOTHING for one in entry.properties)


def _outward(interface: str | None, outside: frozenset[str]) -> bool:
    return interface is not None and (
        interface in outside or NAMED_OUTSIDE.search(interface) is not None
    )
