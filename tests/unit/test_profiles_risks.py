"""What deserves a look on platforms with a profile: tags, each with its reason."""

from __future__ import annotations

import pytest

from adapters.comparing import Job, compare
from domain.profiles import PROFILES
from domain.semantic.risks import TAGS
from domain.semantic.told import ToldDiff

OPEN = "the rule lets in whatever comes to it"
VTY = "line vty 0 4\n access-class 10 in\n transport input ssh\nend\n"
POLICY = (
    'config firewall policy\n    edit 7\n        set srcaddr "lan"\n        set dstaddr "all"\n'
    '        set action accept\n        set service "ALL"\n    next\nend\n'
)
SRX = (
    "security {\n    policies {\n        from-zone a to-zone b {\n            policy one {\n"
    "                match {\n                    source-address lan;\n"
    "                    destination-address any;\n                    application any;\n"
    "                }\n                then {\n                    permit;\n"
    "                }\n            }\n        }\n    }\n}\n"
)
TERM = (
    "firewall {\n    filter f {\n        term t {\n            from {\n"
    "                source-address 10.0.0.0/8;\n            }\n            then accept;\n"
    "        }\n    }\n}\n"
)
RULE = (
    "package firewall\n\nconfig rule\n\toption name 'x'\n\toption src 'wan'\n"
    "\toption target 'ACCEPT'\n\toption dest_port '51820'\n"
)
ZONE = "package firewall\n\nconfig zone\n\toption name 'wan'\n\toption input 'REJECT'\n"
VYOS = "set firewall ipv4 name in rule 10 action 'accept'\n"
# Platform, before, after, and the tags.
CASES: dict[str, tuple[str, str, str, set[str]]] = {
    "the filter of the terminal lines is gone": (
        "ios",
        VTY,
        VTY.replace(" access-class 10 in\n", ""),
        {"management-access"},
    ),
    "telnet is enabled": (
        "ios",
        VTY,
        VTY.replace("input ssh", "input telnet ssh"),
        {"management-access"},
    ),
    "passwords are kept in the clear": (
        "ios",
        "service password-encryption\nend\n",
        "no service password-encryption\nend\n",
        {"users"},
    ),
    "a community": ("ios", "end\n", "snmp-server community x RO\nend\n", {"services"}),
    "aaa is gone": ("ios", "aaa new-model\nend\n", "end\n", {"users"}),
    "a user": ("ios", "end\n", "username x privilege 15 secret 9 x\nend\n", {"users"}),
    "everything is permitted": (
        "ios",
        "ip access-list extended a\n deny ip any any\nend\n",
        "ip access-list extended a\n permit ip any any\nend\n",
        {"protection"},
    ),
    "a filter is taken off an interface": (
        "ios",
        "interface a\n ip access-group in in\nend\n",
        "interface a\nend\n",
        {"protection"},
    ),
    "a default route": (
        "ios",
        "end\n",
        "ip route 0.0.0.0 0.0.0.0 192.0.2.1\nend\n",
        {"wan-address"},
    ),
    "a web server": (
        "ios",
        "no ip http server\nend\n",
        "ip http server\nend\n",
        {"management-access"},
    ),
    "nothing of it": ("ios", "interface a\nend\n", "interface a\n description b\nend\n", set()),
    "telnet of eos": (
        "eos",
        "management telnet\n   shutdown\nend\n",
        "management telnet\n   no shutdown\nend\n",
        {"management-access"},
    ),
    "a user of eos": ("eos", "end\n", "username x privilege 15 secret 0 x\nend\n", {"users"}),
    "an access list of frr": (
        "frr",
        "end\n",
        "access-list a seq 5 permit any\nend\n",
        {"protection"},
    ),
    "a policy for everything": (
        "fortios",
        POLICY,
        POLICY.replace('"lan"', '"all"'),
        {"protection"},
    ),
    "an administrator": (
        "fortios",
        'config system admin\n    edit "a"\n    next\nend\n',
        'config system admin\n    edit "a"\n    next\n    edit "b"\n    next\nend\n',
        {"users"},
    ),
    "access to an interface": (
        "fortios",
        'config system interface\n    edit "w"\n        set allowaccess ping\n    next\nend\n',
        'config system interface\n    edit "w"\n        set allowaccess telnet\n    next\nend\n',
        {"management-access"},
    ),
    "a policy of junos for everything": (
        "junos",
        SRX,
        SRX.replace("source-address lan", "source-address any"),
        {"protection"},
    ),
    "a term of junos that looks at nothing": (
        "junos",
        TERM.replace("then accept", "then discard"),
        TERM.replace(
            "            from {\n                source-address 10.0.0.0/8;\n            }\n", ""
        ),
        {"protection"},
    ),
    "telnet of junos": (
        "junos",
        "system {\n    services {\n        ssh;\n    }\n}\n",
        "system {\n    services {\n        ssh;\n        telnet;\n    }\n}\n",
        {"management-access"},
    ),
    "a user of junos": (
        "junos",
        "system {\n    login {\n        message x;\n    }\n}\n",
        "system {\n    login {\n        message x;\n        user y {\n            uid 1;\n"
        "        }\n    }\n}\n",
        {"users"},
    ),
    "a rule of vyos for everything": (
        "vyos",
        VYOS + "set firewall ipv4 name in rule 10 source address '10.0.0.1'\n",
        VYOS + "set firewall ipv4 name in rule 10 description 'x'\n",
        {"protection"},
    ),
    "telnet of vyos": (
        "vyos",
        VYOS,
        VYOS + "set service telnet port '23'\n",
        {"management-access"},
    ),
    "a user of vyos": (
        "vyos",
        VYOS,
        VYOS + "set system login user x authentication plaintext-password 'y'\n",
        {"users"},
    ),
    "a rule of openwrt for everything": (
        "openwrt",
        RULE,
        RULE.replace("\toption dest_port '51820'\n", "\toption log '1'\n"),
        {"protection"},
    ),
    "the outer zone is opened": (
        "openwrt",
        ZONE,
        ZONE.replace("REJECT", "ACCEPT"),
        {"protection", "zones"},
    ),
    "the ssh server of openwrt": (
        "openwrt",
        "package dropbear\n\nconfig dropbear\n\toption PasswordAuth 'off'\n",
        "package dropbear\n\nconfig dropbear\n\toption PasswordAuth 'on'\n",
        {"management-access"},
    ),
}
OPENED = (
    "everything is permitted",
    "an access list of frr",
    "a policy for everything",
    "a policy of junos for everything",
    "a term of junos that looks at nothing",
    "a rule of vyos for everything",
    "a rule of openwrt for everything",
    "the outer zone is opened",
)


def told(before: str, after: str, platform: str) -> ToldDiff:
    found = compare(Job(before.encode(), after.encode(), platform, b"k" * 32, "r1", ()))
    assert found.told is not None
    return found.told


@pytest.mark.parametrize("case", CASES)
def test_what_deserves_a_look_has_a_tag_and_a_reason(case: str) -> None:
    platform, before, after, tags = CASES[case]
    there, back = (
        {risk for one in told(old, new, platform).changes for risk in one.risks}
        for old, new in ((before, after), (after, before))
    )
    assert {risk.tag for risk in there} == tags
    assert all(risk.reason for risk in there)
    assert (OPEN in {risk.reason for risk in there}) == (case in OPENED)
    # Nor is the way back without one.
    assert {risk.tag for risk in back} <= tags
    assert bool(back) == bool(there)


@pytest.mark.parametrize("platform", PROFILES)
def test_all_tags_are_known(platform: str) -> None:
    watched = PROFILES[platform].watched
    assert {one.tag for one in watched.risks} <= set(TAGS)
    assert watched.risks
