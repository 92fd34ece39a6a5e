"""Which interfaces lead outside, by what a configuration says of them and not only by their names.

A rule that names `ether1` is about the provider's line if that is where the address comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, NetmaskValueError
from itertools import islice
from typing import Final

from domain.errors import NotUnderstood
from domain.routeros.statements import Statement, parse

NAMED_OUTSIDE: Final = re.compile(
    r"(?:\A|[^a-z])(?:wan|isp|internet|uplink|outside|pppoe|lte)", re.IGNORECASE
)
# Menus of which each entry is a line to a provider.
_CLIENTS: Final = (
    "/interface lte",
    "/interface pppoe-client",
    "/ip dhcp-client",
    "/ipv6 dhcp-client",
)
_EVERYWHERE: Final = (None, "0.0.0.0/0", "::/0")
# Beyond so many lines of a menu the rest is not looked at.
_MOST: Final = 500
_FIND = re.compile(r"\[ ?find (?:default-)?name=\"?([^\" \]]+)\"? ?\]\Z")


def outside(*configurations: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The names of interfaces, and of lists of them, that lead outside in any of them."""
    return frozenset(name for one in configurations for name in _of(one) if name)


def _of(menus: Mapping[str, Sequence[str]]) -> Iterator[str | None]:
    for menu in _CLIENTS:
        for entry in _parsed(menus.get(menu, ())):
            yield from (entry.get("interface"), entry.get("name"))
    for menu, lines in menus.items():
        if menu.startswith("/interface"):
            for entry in _parsed(line for line in lines if " comment=" in line):
                if NAMED_OUTSIDE.search(entry.get("comment") or ""):
                    yield from _names(entry)
    for entry in _parsed(menus.get("/interface list member", ())):
        if NAMED_OUTSIDE.search(entry.get("list") or ""):
            yield entry.get("interface")
    yield from _of_routes(menus)


def _of_routes(menus: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Over which interfaces the default routes go."""
    gateways = [
        gateway
        for menu in ("/ip route", "/ipv6 route")
        for entry in _parsed(_default(menus.get(menu, ())))
        if entry.get("dst-address") in _EVERYWHERE
        for gateway in (entry.get("gateway") or "").split(",")
    ]
    addresses = []
    for gateway in gateways:
        address, _, interface = gateway.partition("%")
        yield interface or address
        try:
            addresses.append(IPv4Address(address))
        except AddressValueError:
            continue
    if not addresses:
        return
    for entry in _parsed(menus.get("/ip address", ())):
        try:
            network = IPv4Interface(entry.get("address") or "").network
        except (AddressValueError, NetmaskValueError):
            continue
        if any(one in network for one in addresses):
            yield entry.get("interface") or ""


def _default(lines: Sequence[str]) -> Iterator[str]:
    return (
        line
        for line in lines
        if "dst-address=" not in line or "=0.0.0.0/0" in line or "=::/0" in line
    )


def _names(entry: Statement) -> Iterator[str | None]:
    """By what an interface is called: its name, and the one that it came with."""
    yield entry.get("name")
    found = _FIND.match(entry.target)
    yield found[1] if found else None


def _parsed(lines: Iterable[str]) -> Iterator[Statement]:
    for line in islice(lines, _MOST):
        try:
            statement = parse(line)
        except NotUnderstood:
            continue
        if statement.get("disabled") != "yes":
            yield statement
