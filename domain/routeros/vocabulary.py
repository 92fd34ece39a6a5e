"""Words of RouterOS whose meaning is known: which order counts, which values are sets or scripts.

A word that is missing here is treated as if it mattered: an unknown value counts as it is written.
"""

from __future__ import annotations

from typing import Final

# Menus whose order is configuration, mostly since the first entry that matches wins. That RouterOS
# knows `move` in a menu is no sign of it: its documentation is what tells.
_ORDERED: Final = """
caps-man access-list|caps-man provisioning
interface bridge filter|interface bridge nat
interface ethernet switch acl|interface ethernet switch rule
interface wifi access-list|interface wifi provisioning
interface wifiwave2 access-list|interface wifiwave2 provisioning
interface wireless access-list|interface wireless connect-list|interface wireless snooper
ip firewall filter|ip firewall mangle|ip firewall nat|ip firewall raw
ip hotspot ip-binding|ip hotspot walled-garden|ip hotspot walled-garden ip
ip ipsec policy|ip vrf
ip proxy access|ip proxy cache|ip proxy direct|ip socks access|ip route rule
ipv6 firewall filter|ipv6 firewall mangle|ipv6 firewall nat|ipv6 firewall raw
mpls interface|mpls ldp accept-filter|mpls ldp advertise-filter
queue simple|queue tree
radius
routing bfd configuration
routing filter|routing filter rule|routing filter select-rule|routing rule
routing ospf interface-template
"""
ORDERED: Final = frozenset(f"/{menu}" for line in _ORDERED.split("\n") for menu in line.split("|"))
# Version 3 of the rules of comparing did not know these, nor did the ones before.
ORDERED_3: Final = ORDERED - {"/ip vrf", "/routing bfd configuration"}

# Properties whose value is a set: RouterOS may write its members in any order.
_SETS: Final = """
    addresses allowed-address authentication-types blocked-ports connection-nat-state
    connection-state dhcp-options dst-port forbidden-ports group-ciphers group-encryption
    interfaces networks policy port ports protocols servers src-port tagged topics
    unicast-ciphers untagged vlan-ids
"""
SETS: Final = frozenset(_SETS.split())

# Properties whose value is a script.
_SCRIPTS: Final = """
    down-script lease-script on-down on-error on-event on-login on-logout on-master on-backup
    on-up script source test-script up-script
"""
SCRIPTS: Final = frozenset(_SCRIPTS.split())

# Commands that a statement of an export may begin with. `set` and `add` are nearly all of them.
_VERBS: Final = "add comment disable enable move remove reset reset-counters set unset"
VERBS: Final = frozenset(_VERBS.split())
