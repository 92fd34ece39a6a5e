"""Hand-checked pairs of configurations: where each change is told, as what, and in which words."""

from __future__ import annotations

import pytest

from domain.redaction import Redactor
from domain.semantic.comparing import compare
from domain.semantic.telling import tell
from domain.semantic.told import ToldDiff
from tests.exports import corpus_texts, form_of
from tests.unit.real_pairs import PAIRS as REAL

REDACTOR = Redactor(b"k" * 32, "r1")
FILTER = """\
/ip firewall filter
add action=accept chain=input comment=established connection-state=established,related
add action=accept chain=input comment="allow ping" protocol=icmp
add action=drop chain=input comment="drop invalid" connection-state=invalid
add action=accept chain=input comment="allow winbox" dst-port=8291 protocol=tcp
add action=drop chain=input in-interface-list=!LAN
"""
ETHERNET = """\
/interface ethernet
set [ find default-name=ether1 ] name=wan
set [ find default-name=ether2 ] comment=desk
"""


def told(before: str, after: str) -> ToldDiff:
    return tell(compare(form_of(before), form_of(after)), REDACTOR)


def sentences(before: str, after: str) -> list[str]:
    return [one.sentence for one in told(before, after).changes]


def moved(text: str, line: int, to: int) -> str:
    lines = text.splitlines()
    lines.insert(to, lines.pop(line))
    return "\n".join(lines) + "\n"


ADDRESSES = "/ip address\nadd address=10.0.0.1/24 interface=ether2 network=10.0.0.0\n"
PAIRS = {
    "a rule that moved": (
        FILTER,
        moved(FILTER, 4, 2),
        ["firewall filter: rule 'allow winbox' moved from 4 to 2"],
    ),
    "an address on another interface": (
        ADDRESSES,
        ADDRESSES.replace("ether2", "bridge1"),
        ["ip address 10.0.0.1/24 moved from ether2 to bridge1"],
    ),
    "an address that came": (
        ADDRESSES,
        ADDRESSES + "add address=10.9.0.1/24 interface=ether3 network=10.9.0.0\n",
        ["ip address: '10.9.0.1/24' added on ether3"],
    ),
    "another address is not the same address": (
        ADDRESSES,
        ADDRESSES.replace("10.0.0.1/24", "10.0.0.2/24"),
        ["ip address: '10.0.0.1/24' removed", "ip address: '10.0.0.2/24' added on ether2"],
    ),
    "a rule without a comment that changed": (
        FILTER,
        FILTER.replace("in-interface-list=!LAN", "in-interface-list=WAN"),
        [
            "firewall filter: rule 'drop input in-interface-list=WAN': in-interface-list changed "
            "from !LAN to WAN"
        ],
    ),
    "a rule that was disabled": (
        FILTER,
        FILTER.replace("protocol=icmp", "disabled=yes protocol=icmp"),
        ["firewall filter: rule 'allow ping' disabled"],
    ),
    "a rule that was enabled": (
        FILTER.replace("protocol=icmp", "disabled=yes protocol=icmp"),
        FILTER,
        ["firewall filter: rule 'allow ping' enabled"],
    ),
    "a rule disabled and edited at once": (
        FILTER,
        FILTER.replace("dst-port=8291", "disabled=yes dst-port=8291,8728"),
        [
            "firewall filter: rule 'allow winbox' disabled",
            "firewall filter: rule 'allow winbox': dst-port: 8728 added",
        ],
    ),
    "a rule inserted at the top": (
        FILTER,
        FILTER.replace("filter\n", "filter\nadd action=accept chain=input comment=new\n"),
        ["firewall filter: rule 'new' added at 1"],
    ),
    "a rule removed from the middle": (
        FILTER,
        FILTER.replace(FILTER.splitlines(keepends=True)[3], ""),
        ["firewall filter: rule 'drop invalid' removed, which was at 3"],
    ),
    "a rule that moved to where it was, as another one went": (
        "/queue simple\nadd name=a\nadd name=b\nadd name=c\nadd name=d\n",
        "/queue simple\nadd name=b\nadd name=d\nadd name=c\n",
        [
            "queue simple: 'c' moved past others, and is at 3 again",
            "queue simple: 'a' removed, which was at 1",
        ],
    ),
    "a rule that moved and changed": (
        FILTER,
        moved(FILTER.replace("8291", "8291,22"), 4, 1),
        [
            "firewall filter: rule 'allow winbox': dst-port: 22 added",
            "firewall filter: rule 'allow winbox' moved from 4 to 1",
        ],
    ),
    "members of a set": (
        "/interface bridge vlan\nadd bridge=b tagged=e1,e2,e3 vlan-ids=7\n",
        "/interface bridge vlan\nadd bridge=b tagged=e3,e1,e4 vlan-ids=7\n",
        ["interface bridge vlan: 'vlan 7 of b': tagged: e4 added and e2 removed"],
    ),
    "an interface that got a name": (
        ETHERNET,
        ETHERNET.replace("comment=desk", "comment=desk name=office"),
        ["interface ethernet: 'ether2' named 'office'"],
    ),
    "an interface that was renamed": (
        ETHERNET,
        ETHERNET.replace("name=wan", "name=uplink"),
        ["interface ethernet: 'wan' renamed to 'uplink'"],
    ),
    "an entry that was renamed": (
        "/ip pool\nadd name=lan ranges=10.0.0.2-10.0.0.9\n",
        "/ip pool\nadd name=office ranges=10.0.0.2-10.0.0.9\n",
        ["ip pool: 'lan' renamed to 'office'"],
    ),
    "a list is no set": (
        "/ip pool\nadd name=lan ranges=10.0.0.2,10.0.0.9\n",
        "/ip pool\nadd name=lan ranges=10.0.0.9,10.0.0.2\n",
        ["ip pool: 'lan': ranges changed from 10.0.0.2,10.0.0.9 to 10.0.0.9,10.0.0.2"],
    ),
    "a service that was turned off": (
        "/ip service\nset telnet disabled=yes\n",
        "/ip service\nset telnet disabled=yes\nset ftp disabled=yes\n",
        ["ip service: 'ftp' disabled"],
    ),
    "a service that is open again": (
        "/ip service\nset telnet disabled=yes\nset ftp disabled=yes\n",
        "/ip service\nset telnet disabled=yes\n",
        ["ip service: 'ftp' enabled"],
    ),
    "settings of a whole menu": (
        "/system identity\nset name=a\n",
        "/system identity\nset name=b\n",
        ["system identity: 'a' renamed to 'b'"],
    ),
    "settings back to their default": (
        "/ip dns\nset allow-remote-requests=yes servers=1.1.1.1\n",
        "",
        ["ip dns: back to the default: allow-remote-requests, servers"],
    ),
    "a default route over another gateway": (
        "/ip route\nadd distance=1 gateway=192.0.2.1\n",
        "/ip route\nadd distance=1 gateway=192.0.2.2\n",
        ["ip route: 'default': gateway changed from 192.0.2.1 to 192.0.2.2"],
    ),
    "a lease with another address": (
        "/ip dhcp-server lease\nadd address=10.0.0.5 mac-address=02:00:00:00:00:01 server=s\n",
        "/ip dhcp-server lease\nadd address=10.0.0.6 mac-address=02:00:00:00:00:01 server=s\n",
        ["ip dhcp-server lease: '10.0.0.6': address changed from 10.0.0.5 to 10.0.0.6"],
    ),
    "a port of another bridge": (
        "/interface bridge port\nadd bridge=a interface=ether5\n",
        "/interface bridge port\nadd bridge=b interface=ether5\n",
        ["interface bridge port ether5 moved from a to b"],
    ),
    "a vlan of another bridge": (
        "/interface bridge vlan\nadd bridge=a tagged=e1 vlan-ids=7\n",
        "/interface bridge vlan\nadd bridge=b tagged=e1 vlan-ids=7\n",
        ["interface bridge vlan 7 moved from a to b"],
    ),
    "a vlan that came": (
        "/interface bridge vlan\nadd bridge=a tagged=e1 vlan-ids=7\n",
        "/interface bridge vlan\nadd bridge=a tagged=e1 vlan-ids=7\nadd bridge=a vlan-ids=8,9\n",
        ["interface bridge vlan: 'vlan 8,9 of a' added"],
    ),
    "an interface in another list": (
        "/interface list member\nadd interface=ether5 list=LAN\n",
        "/interface list member\nadd interface=ether5 list=WAN\n",
        ["interface list member ether5 moved from LAN to WAN"],
    ),
    "an interface in one more list": (
        "/interface list member\nadd interface=ether5 list=LAN\n",
        "/interface list member\nadd interface=ether5 list=LAN\nadd interface=e6 list=WAN\n",
        ["interface list member: 'e6 in WAN' added"],
    ),
    "a peer with a name": (
        "/interface wireguard peers\nadd allowed-address=10.0.0.2/32 interface=w name=phone "
        'public-key="a="\n',
        "/interface wireguard peers\nadd allowed-address=10.0.0.3/32 interface=w name=phone "
        'public-key="a="\n',
        [
            "interface wireguard peers: 'phone': allowed-address: 10.0.0.3/32 added and "
            "10.0.0.2/32 removed"
        ],
    ),
    "a peer without a name": (
        '/interface wireguard peers\nadd allowed-address=10.0.0.2/32 interface=w public-key="a="\n',
        "",
        ["interface wireguard peers: '10.0.0.2/32' removed"],
    ),
    "a peer of which only the key is known": (
        "",
        '/interface wireguard peers\nadd interface=w public-key="a="\n',
        ["interface wireguard peers: 'a=' added"],
    ),
    "a setting that names an interface": (
        "/ip neighbor discovery-settings\nset discover-interface-list=LAN\n/tool romon port\n"
        "set [ find default=yes ] interface=ether1\n",
        "/ip neighbor discovery-settings\nset discover-interface-list=LAN\n/tool romon port\n"
        "set [ find default=yes ] interface=ether2\n",
        ["tool romon port: 'default': interface changed from ether1 to ether2"],
    ),
    "something that is disabled by a command of its own": (
        "/ip firewall filter\nadd action=drop chain=input comment=a\n",
        "/ip firewall filter\nadd action=drop chain=input comment=a\ndisable 0\n",
        ["firewall filter: rule number 0 disabled"],
    ),
    "something that is no longer disabled so": (
        "/ip pool\ndisable [ find name=a ]\n",
        "/ip pool\nadd name=b\n",
        ["ip pool: 'a' no longer disabled", "ip pool: 'b' added at 1"],
    ),
    "what came by default and is removed": (
        "",
        "/ip pool\nremove [ find ]\n",
        ["ip pool: 'all' removed"],
    ),
    "another command": (
        "",
        "/ip pool\nreset-counters [ find name=a ]\n",
        ["ip pool: 'a': command reset-counters added"],
    ),
    "an address list": (
        "/ip firewall address-list\nadd address=192.0.2.1 list=bad\n",
        "/ip firewall address-list\nadd address=192.0.2.2 list=bad\n",
        [
            "firewall address-list: '192.0.2.1 in bad' removed",
            "firewall address-list: '192.0.2.2 in bad' added",
        ],
    ),
    "a name that resolves to another address": (
        "/ip dns static\nadd address=10.0.0.1 name=nas type=A\n",
        "/ip dns static\nadd address=10.0.0.2 name=nas type=A\n",
        ["ip dns static: 'nas': address changed from 10.0.0.1 to 10.0.0.2"],
    ),
    "a secret, which is not shown": (
        "/ppp secret\nadd name=u password=old\n",
        "/ppp secret\nadd name=u password=new\n",
        [
            f"ppp secret: 'u': password changed from {REDACTOR.secret('old')} to "
            f"{REDACTOR.secret('new')}"
        ],
    ),
    "sub-properties, by their full names": (
        "/interface wifi\nset w configuration.country=Germany .mode=ap\n",
        "/interface wifi\nset w configuration.mode=station\n",
        [
            "interface wifi: 'w': configuration.country Germany unset; configuration.mode changed "
            "from ap to station"
        ],
    ),
    "a long script": (
        f'/system script\nadd name=s source=":put 1{"x" * 200}"\n',
        f'/system script\nadd name=s source=":put 2{"x" * 204}"\n',
        ["system script: 's': source changed (206 characters before, 210 now)"],
    ),
    "positions that something is set by": (
        "/port\nset 0 name=serial0\nset 1 name=serial1\n",
        "/port\nset 0 name=serial0\nset 1 name=usb\n",
        ["port: 'serial1' renamed to 'usb'"],
    ),
    "a line that is not understood, elsewhere": (
        "/ip pool\nwhat\nadd name=a\nadd name=b\n",
        "/ip pool\nadd name=a\nadd name=b\nwhat\n",
        ["ip pool: a line that is not understood moved from 1 to 3"],
    ),
    "lines that are not understood": (
        "/ip pool\nthis is no line\n",
        "/ip pool\nthis is no line either\n",
        [
            "ip pool: a line that is not understood removed",
            "ip pool: a line that is not understood added",
        ],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), PAIRS.values(), ids=PAIRS)
def test_what_changed_is_told_in_words(before: str, after: str, expected: list[str]) -> None:
    assert sentences(before, after) == expected
    assert told(before, before) == ToldDiff(notes=("nothing changed in meaning",))
    menus = [line for line in (before or after).split("\n") if line.startswith("/")]
    assert {one.section for one in told(before, after).changes} == {menus[-1]}


@pytest.mark.parametrize(("before", "after"), REAL)
def test_changes_of_real_exports_are_told_where_they_are(before: str, after: str) -> None:
    texts = corpus_texts()
    if not texts.keys() >= {f"{before}.rsc", f"{after}.rsc"}:
        pytest.skip("this corpus does not hold the versions that this test knows")
    found = told(texts[f"{before}.rsc"], texts[f"{after}.rsc"])
    lines = [
        f"{one.section}: {one.kind} {' '.join(each.name for each in one.properties)}".rstrip()
        for one in found.changes
    ]
    expected = []
    for line in REAL[before, after].strip().splitlines():
        count, times, rest = " ".join(line.split()).partition(" x ")
        expected += [rest] * int(count) if times else [count]
    assert lines == expected


def test_there_are_enough_pairs_of_real_exports_read_by_hand() -> None:
    texts = {name.removesuffix(".rsc") for name in corpus_texts()}
    known = [pair for pair in REAL if texts.issuperset(pair)]
    consecutive = {
        (name, follower)
        for name in texts
        if (follower := f"{name[:-3]}{int(name[-3:]) + 1:03}") in texts
    }
    if texts.issuperset(name for pair in REAL for name in pair):
        assert len(known) >= 25
        assert consecutive <= set(known)


def test_secrets_of_a_real_device_are_not_in_what_is_told() -> None:
    texts = corpus_texts()
    if "dennyhalim-vpn951g/001.rsc" not in texts:
        pytest.skip("this corpus does not hold the versions that this test knows")
    found = told(texts["dennyhalim-vpn951g/000.rsc"], texts["dennyhalim-vpn951g/001.rsc"])
    assert "dennyhalim.com" not in str([one for one in found.changes if "security" in one.section])
