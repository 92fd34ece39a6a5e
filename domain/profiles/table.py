"""The profiles that are known, by platform."""

from __future__ import annotations

import re
from typing import Final

from domain.profiles import values
from domain.profiles.profile import Profile

_WORD: Final = r'(?P<secret>"[^"]*"|\'[^\']*\'|[^\s;]+)'


def _all(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(one.replace("<S>", _WORD)) for one in patterns)


def _heads(text: str) -> frozenset[str]:
    return frozenset(one.strip() for one in text.split("|") if one.strip())


_CISCO: Final = _all(
    r"\bsnmp-server community <S>",
    r"\bsnmp-server host \S+(?: vrf \S+)?(?: (?:traps|informs))?(?: version \S+)?"
    r"(?: (?:auth|noauth|priv))? <S>",
    r"\bsnmp-server user .*\bauth (?:md5|sha\S*) <S>",
    r"\bsnmp-server user .*\bpriv (?:des|3des|aes\S*)(?: \d+)? <S>",
    r"\b(?:password|secret)(?: (?:\d+|sha512|md5|encrypted))? <S>",
    r"\b(?:key-string|key-chain-key|pre-shared-key|message-digest-key \d+ md5|authentication-key"
    r"|md5)(?: [0-9]\b)? <S>",
    r"^\s*(?:tacacs-server|radius-server) .*\bkey(?: [0-9]\b)? <S>",
    r"^\s*key(?: [0-9]\b)? (?!chain\b|\d+$)<S>",
    r"\bcrypto isakmp key(?: [0-9]\b)? <S>",
    r"\bstandby .* authentication(?: (?:md5 key-string|text))?(?: [0-9]\b)? <S>",
    r"\bwpa-psk ascii(?: [0-9]\b)? <S>",
)
_CISCO_HEADS: Final = _heads(
    "aaa|access-list|banner|boot|class-map|clock|crypto|daemon|dot1x|enable|errdisable|hardware|"
    "hostname|interface|ip|ip access-list|ip domain|ip name-server|ip prefix-list|ip route|"
    "ip routing|ip ssh|ipv6|ipv6 access-list|ipv6 route|key|line|lldp|logging|mac|management|mlag|"
    "monitor|ntp|peer-filter|policy-map|privilege|qos|queue-monitor|radius-server|redundancy|"
    "route-map|router bgp|router isis|router ospf|router ospf6|router rip|service|snmp-server|"
    "spanning-tree|switchport|tacacs-server|transceiver|username|vlan|vrf|vrf definition|vtp"
)

_IOS: Final = Profile(
    name="ios",
    style="indent",
    comment="!",
    volatile=re.compile(
        r"Building configuration|Current configuration ?:|show running-config|"
        r"! (?:Last configuration change|NVRAM config last updated|No configuration change)|"
        r"ntp clock-period\b|Using \d+ out of \d+ bytes|\S+#\s*(?:show .*)?\Z"
    ),
    values=values.IOS,
    secrets=_CISCO,
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
    secrets=_CISCO,
    heads=_CISCO_HEADS,
    head=re.compile(r"! Command: show running-config"),
    tail="end",
)
_JUNOS: Final = Profile(
    name="junos",
    style="brace",
    comment="#",
    volatile=re.compile(r"## Last (?:commit|changed)|\s*scale-subscriber\b|\s*used-count\b"),
    values=values.JUNOS,
    secrets=_all(
        r"(?<=\s)<S>;?[ \t]*## SECRET-DATA",
        r"\b(?:encrypted-password|authentication-key|pre-shared-key ascii-text|secret|"
        r"privacy-key|authentication-password|md5 \d+ key|simple-password|key-chain \S+ secret) "
        r"(?!\{)<S>",
        r"^\s*community <S>(?= \{|;|\Z)",
        r"://[^\s/:@\"]+:(?P<secret>[^\s/@\"]+)@",
    ),
    heads=_heads(
        "access|applications|chassis|class-of-service|event-options|firewall|forwarding-options|"
        "groups|interfaces|policy-options|protocols|routing-instances|routing-options|security|"
        "services|snmp|system|version|vlans"
    ),
)
_VYOS: Final = Profile(
    name="vyos",
    style="set",
    volatile=re.compile(r"\S+@\S+[:~$#].*\Z"),
    values=values.VYOS,
    secrets=_all(
        r"\b(?:plaintext-password|encrypted-password|password|secret|pre-shared-secret|"
        r"preshared-key|private-key|passphrase|key|shared-secret-key|auth-key|md5-key|"
        r"plaintext-key|encrypted-key) <S>\Z",
        r"^set service snmp community <S>",
        r"\bmd5 key-id \d+ md5-key <S>",
    ),
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
    secrets=_all(
        r"^\s*(?:option|list) (?:\w*password|key\d?|\w*_key|passphrase|\w*secret|pin|psk|"
        r"priv_key\w*_pwd|community) <S>",
    ),
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
    salted=re.compile(r"\bENC (?P<secret>\S+)"),
    secrets=_all(
        r"^\s*set (?:passwd|password|psksecret|secret|key|auth-pwd|priv-pwd|passphrase|ppk-secret|"
        r"sae-password|wpa-passphrase|shared-secret) (?!ENC\b)<S>",
        r"^\s*config snmp community <S>",
    ),
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
    secrets=_all(
        r"\bpassword(?: \d+)? (?!md5 |clear )<S>",
        r"\bneighbor \S+ password <S>",
        r"\b(?:key-string|authentication-key|message-digest-key \d+ md5|area-password (?:md5|clear)"
        r"|domain-password (?:md5|clear)|isis password (?:md5|clear)) <S>",
    ),
    heads=_heads(
        "access-list|bgp|debug|frr|hostname|interface|ip|ip prefix-list|ip route|ipv6|ipv6 route|"
        "key|line|log|route-map|router bgp|router isis|router ospf|router ospf6|router rip|"
        "service|vrf"
    ),
    head=re.compile(r"Building configuration|Current configuration:"),
    tail="end",
)

PROFILES: Final = {one.name: one for one in (_IOS, _EOS, _JUNOS, _VYOS, _OPENWRT, _FORTIOS, _FRR)}
