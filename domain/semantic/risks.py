"""Changes that deserve a look before others, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from domain.routeros.statements import Statement
from domain.semantic.changes import Change
from domain.semantic.told import Risk

TAGS: Final = (
    "management-access",
    "input-chain",
    "wan-nat",
    "users",
    "services",
    "wan-address",
)
_MANAGEMENT_PORTS: Final = frozenset(("21", "22", "23", "80", "443", "8291", "8728", "8729"))
_MANAGEMENT: Final = (
    "/ip service",
    "/ip ssh",
    "/tool mac-server",
    "/tool romon",
    "/ip neighbor discovery-settings",
    "/system device-mode",
)
_USERS: Final = ("/user", "/user group", "/user aaa", "/user ssh-keys", "/ppp secret", "/radius")
_SERVICES: Final = (
    "/ip cloud",
    "/ip proxy",
    "/ip service",
    "/ip smb",
    "/ip socks",
    "/ip upnp",
    "/interface l2tp-server server",
    "/interface ovpn-server server",
    "/interface pptp-server server",
    "/interface sstp-server server",
    "/snmp",
    "/tool bandwidth-server",
)
_WAN = re.compile(r"(?:\A|[^a-z])(?:wan|isp|internet|uplink|outside|pppoe|lte)", re.IGNORECASE)
_WAN_CLIENTS: Final = ("/ip dhcp-client", "/interface pppoe-client", "/interface lte")


def risks(change: Change) -> tuple[Risk, ...]:
    """What a change may do to the device's safety, by menus and properties; in words of ours."""
    entries = [one for one in (change.before, change.after) if one is not None]
    found = dict.fromkeys(
        risk for entry in entries for risk in _of_entry(change.section, entry, change)
    )
    return tuple(found)


def _of_entry(section: str, entry: Statement, change: Change) -> Iterator[Risk]:
    if _in(section, _MANAGEMENT):
        yield Risk("management-access", "it decides how the device is managed")
    if section in ("/ip firewall filter", "/ipv6 firewall filter", "/ip firewall raw"):
        yield from _of_rule(entry)
    if section in ("/ip firewall nat", "/ipv6 firewall nat"):
        yield from _of_nat(entry)
    if section in _USERS:
        yield Risk("users", "it decides who may log in, or what they may do")
    if _in(section, _SERVICES):
        yield Risk("services", "it decides which services the device offers")
    if section == "/ip dns" and any(
        one.name == "allow-remote-requests" for one in change.properties or entry.properties
    ):
        yield Risk("services", "it decides whether others may ask the device's resolver")
    if section in _WAN_CLIENTS:
        yield Risk("wan-address", "the device gets its address towards the provider this way")
    if section in ("/ip address", "/ipv6 address") and _outward(entry, "interface"):
        yield Risk("wan-address", "the interface is named as one to the outside")
    if section in ("/ip route", "/ipv6 route") and entry.get("dst-address") in (
        None,
        "0.0.0.0/0",
        "::/0",
    ):
        yield Risk("wan-address", "it is a default route")


def _of_rule(entry: Statement) -> Iterator[Risk]:
    if entry.get("chain") not in ("input", "prerouting"):
        return
    yield Risk("input-chain", "the chain decides what may reach the device itself")
    ports = re.split(r"[,-]", entry.get("dst-port") or "")
    if not _MANAGEMENT_PORTS.isdisjoint(ports):
        yield Risk("management-access", "the rule names ports by which the device is managed")


def _of_nat(entry: Statement) -> Iterator[Risk]:
    action = entry.get("action")
    if action in ("dst-nat", "netmap", "redirect"):
        yield Risk("wan-nat", "the rule makes something inside reachable from elsewhere")
    elif action in ("masquerade", "src-nat") and (
        _outward(entry, "out-interface") or _outward(entry, "out-interface-list")
    ):
        yield Risk("wan-nat", "the rule decides under which address the inside goes out")


def _outward(entry: Statement, name: str) -> bool:
    return _WAN.search(entry.get(name) or "") is not None


def _in(section: str, menus: tuple[str, ...]) -> bool:
    return any(section == menu or section.startswith(f"{menu} ") for menu in menus)
