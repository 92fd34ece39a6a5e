"""The profiles that are known, by platform."""

from __future__ import annotations

import re
from typing import Final

from domain.profiles import secrets, values
from domain.profiles.profile import Profile


def _heads(text: str) -> frozenset[str]:
    return frozenset(one.strip() for one in text.split("|") if one.strip())


# `set … description x`: the last word or quoted text of its line, and not within one.
_PROSE: Final = re.compile(
    r"\s*(?:(?:banner|description|remark|annotate|alias|name|snmp-server (?:location|contact))\b"
    r"|set \S[^'\"]* description[ \t]+(?:['\"]|\S+\s*\Z))"
)
_CISCO_HEADS: Final = _heads(
    "aaa|access-list|banner|boot|class-map|clock|crypto|daemon|dot1x|enable|errdisable|hardware|"
    "hostname|interface|ip|ip access-list|ip domain|ip name-server|ip prefix-list|ip route|"
    "ip routing|ip ssh|ipv6|ipv6 access-list|ipv6 route|key|line|lldp|logging|mac|management|mlag|"
    "monitor|ntp|peer-filter|policy-map|privilege|qos|queue-monitor|radius-server|redundancy|"
    "route-map|router bgp|router isis|router ospf|router ospf6|router rip|service|snmp-server|"
    "spanning-tree|switchport|tacacs-server|transceiver|username|vlan|vrf|vrf definition|vtp"
)

_IOS_VOLATILE_2: Final = (
    r"Building configuration|Current configuration ?:|show running-config|"
    r"! (?:Last configuration change|NVRAM config last updated|No configuration change)|"
    r"ntp clock-period\b|Using \d+ out of \d+ bytes|\S+#\s*(?:show .*)?\Z"
)
_JUNOS_VOLATILE_2: Final = r"## Last (?:commit|changed)|\s*scale-subscriber\b|\s*used-count\b"

_IOS: Final = Profile(
    name="ios",
    style="indent",
    comment="!",
    volatile=re.compile(
        rf"{_IOS_VOLATILE_2}|Load for five secs: .*\Z|Time source is .*\Z|No time source, .*\Z"
    ),
    volatile_2=re.compile(_IOS_VOLATILE_2),
    version=3,
    values=values.IOS,
    secrets=secrets.CISCO,
    keys=secrets.CISCO_KEYS,
    prose=_PROSE,
    heads=_CISCO_HEADS,
    head=re.compile(r"Building configuration|Current configuration ?:"),
    tail="end",
)
_EOS: Final = Profile(
    name="eos",
    style="indent",
    comment="!",
    remark="!!",
    volatile=re.compile(r"! (?:Time|Command|device):|\S+#\s*(?:show .*)?\Z"),
    values=values.EOS,
    secrets=secrets.CISCO,
    keys=secrets.CISCO_KEYS,
    prose=_PROSE,
    heads=_CISCO_HEADS,
    head=re.compile(r"! Command: show running-config"),
    tail="end",
)
_JUNOS: Final = Profile(
    name="junos",
    style="brace",
    comment="#",
    # The role of a routing engine or node, above a prompt, and the prompt.
    volatile=re.compile(
        rf"{_JUNOS_VOLATILE_2}|\{{(?:master|backup|linecard|primary|secondary)[\w:.-]*\}}\Z"
        r"|[\w.-]+@[\w.:-]+[>%#](?: .*)?\Z"
    ),
    volatile_2=re.compile(_JUNOS_VOLATILE_2),
    version=3,
    values=values.JUNOS,
    prose=_PROSE,
    secrets=secrets.JUNOS,
    heads=_heads(
        "access|applications|chassis|class-of-service|event-options|firewall|forwarding-options|"
        "groups|interfaces|policy-options|protocols|routing-instances|routing-options|security|"
        "services|snmp|system|version|vlans"
    ),
)
_VYOS: Final = Profile(
    name="vyos",
    version=3,
    style="set",
    volatile=re.compile(r"\S[^\s@]*+@\S+[:~$#].*\Z"),
    values=values.VYOS,
    prose=_PROSE,
    secrets=secrets.VYOS,
    heads=_heads(
        "container|firewall|high-availability|interfaces|load-balancing|nat|nat66|pki|policy|"
        "protocols|qos|service|system|traffic-policy|vpn|vrf|zone-policy"
    ),
)
_OPENWRT: Final = Profile(
    name="openwrt",
    style="flat",
    comment="#",
    volatile=re.compile(r"root@\S+:.*\Z"),
    values=values.OPENWRT,
    secrets=secrets.OPENWRT,
    heads=_heads(
        "package dhcp|package dropbear|package firewall|package network|package system|"
        "package wireless|package|config"
    ),
)
_FORTIOS: Final = Profile(
    name="fortios",
    style="edit",
    comment="#",
    volatile=re.compile(
        r"#config-version=|#conf_file_ver=|#buildno=|#global_vdom=|Current Time|Disk Usage|"
        r"\s*set (?:last-update|lastupdate)\b"
    ),
    values=values.FORTIOS,
    salted=secrets.FORTIOS_SALTED,
    prose=re.compile(r"\s*set (?:comments?|description)\b"),
    secrets=secrets.FORTIOS,
    names=secrets.FORTIOS_NAMES,
    heads=_heads(
        "config antivirus|config application|config firewall|config ips|config log|config router|"
        "config switch-controller|config system|config user|config vpn|config webfilter|"
        "config wireless-controller"
    ),
)
_FRR: Final = Profile(
    name="frr",
    style="indent",
    comment="!",
    volatile=re.compile(
        r"Building configuration|Current configuration:|! Last Changed:|\S+#\s*(?:show .*)?\Z"
    ),
    prose=_PROSE,
    secrets=secrets.FRR,
    keys=secrets.CISCO_KEYS,
    heads=_heads(
        "access-list|bgp|debug|frr|hostname|interface|ip|ip prefix-list|ip route|ipv6|ipv6 route|"
        "key|line|log|route-map|router bgp|router isis|router ospf|router ospf6|router rip|"
        "service|vrf"
    ),
    head=re.compile(r"Building configuration|Current configuration:"),
    tail="end",
)

PROFILES: Final = {one.name: one for one in (_IOS, _EOS, _JUNOS, _VYOS, _OPENWRT, _FORTIOS, _FRR)}
