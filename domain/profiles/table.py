"""The profiles that are known, by platform."""

from __future__ import annotations

import re
from typing import Final

from domain.profiles import values
from domain.profiles.profile import Profile

# What is hidden already, or empty, is no secret.
_NONE: Final = r"(?!<(?:secret|hidden)[:>]|''(?!')|\"\"|[\]{;])"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"' r"|'[^']*'(?:\\''[^']*')*"
_WORD: Final = rf"{_NONE}(?P<secret>{_QUOTED}|\S+)"
# Where a semicolon ends what is said.
_WORD_OF_BRACES: Final = rf"{_NONE}(?P<secret>{_QUOTED}|[^\s;]+)"
_REST: Final = rf"{_NONE}(?P<secret>\S.*?)[ \t]*\Z"


def _all(*patterns: str, word: str = _WORD) -> tuple[re.Pattern[str], ...]:
    """Expressions in which `<S>` stands for a secret word, and `<R>` for one up to the end."""
    return tuple(re.compile(one.replace("<S>", word).replace("<R>", _REST)) for one in patterns)


def _heads(text: str) -> frozenset[str]:
    return frozenset(one.strip() for one in text.split("|") if one.strip())


_CISCO: Final = _all(
    r"\bsnmp-server community <S>",
    r"\bsnmp-server host \S+(?: vrf \S+)?+(?: (?:traps|informs))?+(?: version \S+)?+"
    r"(?: (?:auth|noauth|priv))?+ <S>",
    r"\bsnmp-server user .*\bauth (?:md5|sha\S*) <S>",
    r"\bsnmp-server user .*\bpriv (?:des|3des|aes\S*)(?: \d+)?+ <S>",
    r"\b(?:isis|area|domain)[ -]password(?: (?:\d|md5|clear))?+ <S>",
    r"(?<![\w-])(?:password|secret)(?: level \d+)?+(?: (?:\d+|sha512|md5|encrypted))?+ <R>",
    r"\bpre-shared-key (?:address|hostname) .*\bkey(?: [0-9]\b)?+ <S>",
    r"\bpre-shared-key(?: (?:local|remote))?+(?! (?:address|hostname)\b)(?: [0-9]\b)?+ <S>",
    r"\bmessage-digest-key \d+ (?:md5|sha\d+)(?: [0-9]\b)?+ <S>",
    r"\bauthentication-key(?: \d+ (?:md5|sha\S*|cmac\S*))?+(?: [0-9]\b)?+ <S>",
    r"\b(?:key-string|key-chain-key|server-key)(?: [0-9]\b)?+ <S>",
    r"\bauthentication mode hmac-sha-256(?: [0-9]\b)?+ <S>",
    r"^\s*(?:tacacs-server|radius-server) .*\bkey(?: [0-9]\b)?+ <S>",
    r"^\s*key [0-9a-fA-F]{2,} [0-9] <S>",
    r"^\s*key(?: [0-9]\b(?! *\Z))?+ (?!chain\b|\d+$|[0-9a-fA-F]{2,} [0-9] )<S>",
    r"\bcrypto isakmp key(?: [0-9]\b)?+ <S>",
    r"\bauthentication (?:.* )?key(?: [0-9]\b)?+ <S>",
    r"\bkey [0678] <S>",
    r"\b(?:standby|vrrp|glbp) .*\bauthentication(?: (?:md5 key-string|text|ah))?+"
    r"(?! md5 key-)(?: [0-9]\b)?+ <S>",
    r"\bnhrp authentication(?: [0-9]\b)?+ <S>",
    r"\bwpa-psk (?:ascii|hex)(?: [0-9]\b)?+ <S>",
)
_PROSE: Final = re.compile(r"\s*(?:description|remark|set \S.* description|annotate|alias|name)\b")
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
    secrets=_CISCO,
    prose=_PROSE,
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
    prose=_PROSE,
    secrets=_all(
        r"(?<=\s)<S>;?[ \t]*## SECRET-DATA",
        r"(?<![\w-])(?:encrypted-password|plain-text-password-value|authentication-key|"
        r"pre-shared-key (?:ascii-text|hexadecimal)|ascii-text|hexadecimal|secret|password|"
        r"privacy-key|chap-secret|(?:authentication|privacy|simple|tunnel)-password|md5 \d+ key|"
        r"(?:authentication|encryption) (?:\S+ )?key|key (?:ascii-text|hexadecimal)|cak|"
        r"community-name) <S>",
        r"^\s*community <S>(?= \{|;|\Z)",
        r"^\s*set (?:\S+ )*snmp community <S>",
        r"://[^\s/:@\"]+:(?P<secret>[^\s/@\"]+)@",
        word=_WORD_OF_BRACES,
    ),
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
    volatile=re.compile(r"\S+@\S+[:~$#].*\Z"),
    values=values.VYOS,
    prose=_PROSE,
    secrets=_all(
        r"(?<![\w-])(?:(?:[\w-]+-)?(?:password|passphrase|secret)|pre-shared-secret|preshared-key|"
        r"private-key|private key|shared-secret-key|auth-key|md5-key|plaintext-key|encrypted-key|"
        r"cak|community) <S>[ \t]*\Z",
        r"^(?!.* public-keys )(?!.* parameters ip key ).*(?<![\w-])key <S>[ \t]*\Z",
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
        r"^\s*(?:option|list) ['\"]?(?!\w*(?:public|host)_?key)(?i:\w*passw(?:or)?d\d?|key\d?|"
        r"\w*_key|\w*passphrase|\w*secret|\w*token|pin|puk|pincode|\w*psk|\w*_pwd|\w*community)"
        r"['\"]?[ \t]+<R>",
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
    prose=re.compile(r"\s*set (?:comments?|description)\b"),
    secrets=_all(
        r"^\s*set (?:[\w-]*(?:password|passwd|passphrase|psksecret|secret|psk|-pwd|key-string|"
        r"-token|community)|(?:auth-?|enc-?|api-?|wep-?)?key)\d* (?!ENC\b)<R>",
        r"^\s*config snmp community <S>",
    ),
    names=(
        re.compile(r"\s*config system snmp community\b"),
        re.compile(rf"^\s*set name {_REST}"),
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
    prose=_PROSE,
    secrets=(
        *_all(
            r"\bisis password (?:md5|clear) <S>",
            r"\b(?:area|domain)-password (?:md5|clear) <S>",
            r"\bauthentication string <S>",
            r"\bauthentication key-id \d+ hash-algo \S+ key <S>",
        ),
        *_CISCO,
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
