"""What deserves a look, by platform."""

from __future__ import annotations

import re
from typing import Final

from domain.profiles.watching import LineRisk, OpenBlock, Ordered, Watched

_ACCESS: Final = "it decides how the device is managed"
_CLEAR: Final = "it is a way to manage the device that sends passwords in the clear"
_USERS: Final = "it decides who may log in, or what they may do"
_PASSWORDS: Final = "it decides how passwords are kept, or asked for"
_SNMP: Final = "it decides who may ask the device about itself, or set it"
_RULE: Final = "it is a rule by which traffic is let through or kept out"
_OPEN: Final = "the rule lets in whatever comes to it"
_OFF: Final = "it takes traffic rules from where they were in force, or puts others there"
_LOGGED: Final = "it decides what is recorded of the device's doings, and where"
_DEFAULT_ROUTE: Final = "it is a default route"
_TUNNELS: Final = "it decides who gets in from outside, and which way traffic goes there"
_TRANSLATED: Final = "it decides what of the inside is reachable from elsewhere, or goes out"
_SCRIPTS: Final = "it holds commands that the device carries out by itself"


def _risk(tag: str, reason: str, line: str, path: str = "", kind: str | None = None) -> LineRisk:
    return LineRisk(tag, reason, re.compile(line), re.compile(path) if path else None, kind)


def _ordered(within: str | None, entries: str, number: str = "") -> Ordered:
    return Ordered(
        None if within is None else re.compile(within),
        re.compile(entries),
        re.compile(number) if number else None,
    )


def _open(begins: str, *has: str, path: str = "", lacks: str = "") -> OpenBlock:
    return OpenBlock(
        re.compile(begins),
        tuple(re.compile(one) for one in has),
        re.compile(path) if path else None,
        re.compile(lacks) if lacks else None,
    )


_LISTS: Final = r"(?:ip|ipv6|mac) (?:access-list|prefix-list)\b|access-list\b|peer-filter\b"
_NUMBER: Final = r"(?:(?<=\A)|(?<= seq )|(?<=\Aseq ))\d+ "
_CISCO_ORDERED: Final = (
    _ordered(rf"(?:{_LISTS})", r"", _NUMBER),
    _ordered(
        None,
        r"(?:access-list|(?:ip|ipv6) (?:prefix-list|as-path access-list)|route-map) \S+"
        r"|bgp (?:as-path access-list|\w*-?community-list)(?: (?:standard|expanded))? \S+",
        r"(?<= seq )\d+ ",
    ),
    _ordered(r"policy-map\b", r"class\b"),
)
_CISCO_RISKS: Final = (
    _risk("protection", _RULE, r"", rf"\A(?:{_LISTS})"),
    _risk("protection", _RULE, rf"(?:{_LISTS})"),
    _risk("protection", _OPEN, r"(?:.* )?permit (?:(?:ip|ipv6) )?any(?: any)?\Z", "", "added"),
    _risk("protection", _OFF, r"(?:no )?(?:ip|ipv6|mac) (?:access-group|traffic-filter)\b"),
    _risk("protection", _OFF, r"(?:no )?(?:service-policy input|zone-member|zone-pair)\b"),
    _risk("management-access", _ACCESS, r"", r"\A(?:line|management|control-plane|system)\b"),
    _risk("management-access", _ACCESS, r"(?:no )?(?:ip|ipv6)? ?access-class\b"),
    _risk(
        "management-access", _ACCESS, r"(?:no )?(?:line|management|ip ssh|ip http|control-plane)\b"
    ),
    _risk("management-access", _CLEAR, r"transport input (?:.*\b)?(?:telnet|all)\b"),
    _risk("management-access", _CLEAR, r"(?:no )?(?:management telnet|ip http server)\b"),
    _risk("management-access", _CLEAR, r"(?:no )?shutdown\b", r"\Amanagement telnet\b"),
    _risk("users", _USERS, r"(?:no )?(?:username|enable (?:secret|password)|privilege|role)\b"),
    _risk("users", _USERS, r"(?:no )?(?:aaa|tacacs-server|radius-server|tacacs|radius)\b"),
    _risk("users", _USERS, r"", r"\A(?:aaa|tacacs|radius|username|role)\b"),
    _risk("users", _USERS, r"(?:no )?(?:login|password)\b", r"\Aline\b"),
    _risk("users", _PASSWORDS, r"(?:no )?service password-encryption\b"),
    _risk("services", _SNMP, r"(?:no )?snmp-server\b"),
    _risk("services", "others may use the device as a server", r"(?:no )?(?:ip|tftp)[- ]?server\b"),
    _risk("logging", _LOGGED, r"(?:no )?(?:logging|archive)\b"),
    _risk(
        "wan-address", _DEFAULT_ROUTE, r"(?:no )?ip route (?:vrf \S+ )?0\.0\.0\.0(?:/0| 0\.0\.0\.0)"
    ),
    _risk("wan-address", _DEFAULT_ROUTE, r"(?:no )?ipv6 route (?:vrf \S+ )?::/0"),
    _risk("wan-nat", _TRANSLATED, r"(?:no )?ip nat\b"),
    _risk("tunnels", _TUNNELS, r"(?:no )?crypto\b"),
    _risk("tunnels", _TUNNELS, r"", r"\Acrypto\b"),
    _risk("scripts", _SCRIPTS, r"(?:no )?(?:event manager|event-handler|daemon|kron)\b"),
    _risk("scripts", _SCRIPTS, r"", r"\A(?:event manager|event-handler|daemon|kron)\b"),
)
_CISCO: Final = Watched(_CISCO_ORDERED, _CISCO_RISKS)

_JUNOS: Final = Watched(
    ordered=(
        _ordered(r"", r"(?:(?:inactive|protect): )*term\b"),
        _ordered(r"(?:inactive: )?(?:from-zone\b|global\b)", r"(?:inactive: )?policy\b"),
        _ordered(r"(?:inactive: )?rule-set\b", r"(?:inactive: )?rule\b"),
    ),
    risks=(
        _risk("protection", _RULE, r"", r"\A(?:firewall|security > (?:policies|screen))\b"),
        _risk("protection", _RULE, r"(?:firewall|policies|screen)\b"),
        _risk(
            "protection",
            _OFF,
            r"(?:inactive: )?(?:filter\b|input\b|input-list\b)",
            r"\Ainterfaces\b.*family",
        ),
        _risk("management-access", _ACCESS, r"", r"\Asystem > services\b"),
        _risk("management-access", _ACCESS, r"(?:inactive: )?services\b", r"\Asystem\Z"),
        _risk(
            "management-access",
            _CLEAR,
            r"(?:telnet|ftp|http|xnm-clear-text)\b",
            r"\Asystem > services\b",
            "added",
        ),
        _risk("management-access", _ACCESS, r"", r"host-inbound-traffic\b"),
        _risk(
            "users",
            _USERS,
            r"",
            r"\Asystem > (?:login|root-authentication|radius-server|tacplus-server)\b",
        ),
        _risk(
            "users",
            _USERS,
            r"(?:login|root-authentication|authentication-order|radius-server|tacplus-server)\b",
            r"\Asystem\Z",
        ),
        _risk("services", _SNMP, r"", r"\Asnmp\b"),
        _risk("services", _SNMP, r"snmp\b"),
        _risk("logging", _LOGGED, r"", r"\Asystem > (?:syslog|accounting)\b"),
        _risk("logging", _LOGGED, r"(?:syslog|accounting)\b", r"\Asystem\Z"),
        _risk("wan-nat", _TRANSLATED, r"", r"\Asecurity > nat\b"),
        _risk("tunnels", _TUNNELS, r"", r"\Asecurity > (?:ike|ipsec)\b"),
        _risk("wan-address", _DEFAULT_ROUTE, r"route (?:0\.0\.0\.0/0|::/0)"),
        _risk("scripts", _SCRIPTS, r"", r"\A(?:event-options|system > scripts)\b"),
    ),
    open_blocks=(
        _open(
            r"policy\b",
            r"source-address any\b",
            r"destination-address any\b",
            r"application any\b",
            r"permit\b",
            path=r"\Asecurity > policies\b",
        ),
        _open(r"term\b", r"(?:then )?accept\b", path=r"\Afirewall\b", lacks=r"from\b"),
    ),
)

_VYOS: Final = Watched(
    risks=(
        _risk("protection", _RULE, r"set (?:firewall|zone-policy)\b"),
        _risk("protection", _OFF, r"set interfaces .* firewall\b"),
        _risk("management-access", _ACCESS, r"set service (?:ssh|https)\b"),
        _risk("management-access", _CLEAR, r"set service telnet\b"),
        _risk("users", _USERS, r"set system login\b"),
        _risk("services", _SNMP, r"set service snmp\b"),
        _risk("logging", _LOGGED, r"set system syslog\b"),
        _risk("wan-nat", _TRANSLATED, r"set nat(?:66)?\b"),
        _risk("tunnels", _TUNNELS, r"set (?:vpn|pki|interfaces (?:wireguard|openvpn))\b"),
        _risk(
            "wan-address", _DEFAULT_ROUTE, r"set protocols static route6? '?(?:0\.0\.0\.0/0|::/0)"
        ),
        _risk("scripts", _SCRIPTS, r"set system task-scheduler\b"),
    ),
    open_blocks=(
        _open(
            r"set firewall .*? rule '?\d+'? ",
            r".* action '?accept'?\Z",
            lacks=r"set firewall .*? rule '?\d+'? (?!action|description|disable|log)",
        ),
        _open(r"set firewall .*? default-action ", r".* default-action '?accept'?\Z"),
    ),
)

_UCI: Final = r"option {} ['\"]?{}['\"]?\Z"
_OPENWRT: Final = Watched(
    ordered=(
        _ordered(r"package firewall\Z", r"config (?:rule|redirect|nat|forwarding)\b"),
        _ordered(r"package\b", r"config \S+\Z"),
    ),
    risks=(
        _risk(
            "protection",
            _RULE,
            r"",
            r"\Apackage firewall > config (?:rule|defaults|forwarding|include)",
        ),
        _risk(
            "protection",
            _RULE,
            r"config (?:rule|defaults|forwarding|include)\b",
            r"\Apackage firewall\Z",
        ),
        _risk(
            "zones", "rules of the firewall go by zones", r"", r"\Apackage firewall > config zone"
        ),
        _risk(
            "zones", "rules of the firewall go by zones", r"config zone\b", r"\Apackage firewall\Z"
        ),
        _risk("wan-nat", _TRANSLATED, r"", r"\Apackage firewall > config (?:redirect|nat)"),
        _risk("wan-nat", _TRANSLATED, r"config (?:redirect|nat)\b", r"\Apackage firewall\Z"),
        _risk("wan-nat", _TRANSLATED, r"option masq\b", r"\Apackage firewall > config zone"),
        _risk("management-access", _ACCESS, r"", r"\Apackage (?:dropbear|uhttpd|rpcd|telnet)\b"),
        _risk("users", _USERS, r"", r"\Apackage rpcd\b"),
        _risk("services", _SNMP, r"", r"\Apackage (?:snmpd|mini_snmpd)\b"),
        _risk("logging", _LOGGED, r"option log_"),
        _risk(
            "wan-address",
            "the interface is named as one to the outside",
            r"",
            r"\Apackage network > config interface 'wan",
        ),
        _risk(
            "tunnels",
            _TUNNELS,
            r"",
            r"\Apackage (?:ipsec|openvpn)\b|config (?:interface 'wg|wireguard_)",
        ),
    ),
    open_blocks=(
        _open(
            r"config rule\b",
            _UCI.format("src", r"(?:wan\d*|\*)"),
            _UCI.format("target", "ACCEPT"),
            path=r"\Apackage firewall\Z",
            lacks=r"(?:option|list) "
            r"(?:proto|\w*port|\w+_ip|src_mac|icmp_type|family|limit|mark|enabled)\b",
        ),
        _open(
            r"config zone\b",
            _UCI.format("name", r"wan\d*"),
            _UCI.format("input", "ACCEPT"),
            path=r"\Apackage firewall\Z",
        ),
    ),
)

_POLICIES: Final = (
    r"config (?:firewall (?:(?:consolidated )?policy\d*|local-in-policy6?|proxy-policy"
    r"|security-policy|shaping-policy|DoS-policy6?|interface-policy6?|multicast-policy6?"
    r"|central-snat-map)|router policy6?)\Z"
)
_FORTIOS: Final = Watched(
    ordered=(_ordered(_POLICIES, r"edit\b"), _ordered(r"config rule\Z", r"edit\b")),
    risks=(
        _risk(
            "protection", _RULE, r"", r"\Aconfig firewall (?!vip|ippool|address|service|schedule)"
        ),
        _risk("wan-nat", _TRANSLATED, r"", r"\Aconfig firewall (?:vip|ippool|central-snat-map)"),
        _risk("wan-nat", _TRANSLATED, r"set nat\b", r"\Aconfig firewall policy"),
        _risk("management-access", _ACCESS, r"set (?:allowaccess|trusthost|admin-|access-)", ""),
        _risk("management-access", _CLEAR, r"set allowaccess .*\b(?:telnet|http)\b", "", "added"),
        _risk("management-access", _CLEAR, r"set admin-telnet enable\b", "", "added"),
        _risk("users", _USERS, r"", r"\Aconfig (?:system (?:admin|accprofile|api-user)|user)\b"),
        _risk("users", _USERS, r"config (?:system (?:admin|accprofile|api-user)|user)\b"),
        _risk("users", _PASSWORDS, r"", r"\Aconfig system password-policy"),
        _risk("services", _SNMP, r"", r"\Aconfig system snmp\b"),
        _risk("services", _SNMP, r"config system snmp\b"),
        _risk("logging", _LOGGED, r"", r"\Aconfig log\b"),
        _risk("tunnels", _TUNNELS, r"", r"\Aconfig vpn\b"),
        _risk("scripts", _SCRIPTS, r"", r"\Aconfig system (?:auto-script|automation)"),
    ),
    open_blocks=(
        _open(
            r"edit\b",
            r"set srcaddr6? .*\"all\"",
            r"set dstaddr6? .*\"all\"",
            r"set service .*\"ALL\"",
            r"set action accept\b",
            path=_POLICIES,
        ),
    ),
)

WATCHED: Final = {
    "ios": _CISCO,
    "eos": _CISCO,
    "frr": _CISCO,
    "junos": _JUNOS,
    "vyos": _VYOS,
    "openwrt": _OPENWRT,
    "fortios": _FORTIOS,
}
