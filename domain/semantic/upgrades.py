"""What an upgrade of RouterOS writes anew though nobody changed it, told apart from the rest.

A newer version may write a property that an older one left out because it has its default, or the
other way around. Such changes are told as one group.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from domain.routeros.strings import plain
from domain.semantic.changes import Change, PropertyChange

_LEFT_OUT: Final = """
    add-default-route=yes address-list= allow-remote-requests=no arp=enabled comment= copy-from=
    dhcp-snooping=no disabled=no distance=1 dont-require-permissions=no dynamic=no edge=auto
    ether-type=0x8100 fast-forward=yes frame-types=admit-all horizon=none hw=yes
    igmp-snooping=no ingress-filtering=yes interval=0s l2mtu=1500 learn=auto lease-time=30m
    log-prefix= log=no match-subdomain=no mtu=1500 mtu=auto mvrp=no passthrough=yes
    point-to-point=auto port-cost-mode=short priority=0x80 priority=0x8000 protocol-mode=rstp
    pvid=1 restricted-role=no restricted-tcn=no routing-table=main scope=30
    select-dynamic-id= show-at-login=no supplicant-identity=MikroTik suppress-hw-offload=no
    tag-stacking=no target-scope=10 trusted=no use-peer-dns=yes use-peer-ntp=yes
    vlan-filtering=no vrf=main
"""
_DEFAULTS: Final = frozenset(_LEFT_OUT.split())


def told_apart(changes: Iterable[Change]) -> list[Change]:
    """The changes, with those of defaults split off and marked as `upgrade`.

    Only values that are known to be defaults: that many entries lose one and the same property may
    be somebody's doing too, and then it matters most.
    """
    found = []
    for one in changes:
        if one.kind not in ("modified", "enabled"):
            found.append(one)
            continue
        defaults = tuple(change for change in one.properties if _is_default(change))
        rest = tuple(change for change in one.properties if change not in defaults)
        if rest:
            found.append(replace(one, properties=rest))
        if defaults:
            found.append(replace(one, properties=defaults, upgrade=True))
    return found


def _is_default(change: PropertyChange) -> bool:
    """Whether a property appeared or vanished with its default."""
    if change.before is not None and change.after is not None:
        return False
    value = change.after if change.before is None else change.before
    return f"{change.name.rpartition('.')[2]}={plain(value or '')}" in _DEFAULTS
