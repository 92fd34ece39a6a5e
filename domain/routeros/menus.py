"""RouterOS menu paths: which words are menus, and where a path ends and a command begins.

A path begins with a known root and goes on in short lower-case words up to the first command. Paths
travel in events, which hold no text: of a path there, only words that are known to be menus stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_ROOTS: Final = """
app beep caps-man certificate console container disk driver dude environment file import interface
iot ip ipv6 isdn-channels kvm lcd led log lora metarouter mpls openflow partitions password port ppp
queue radius routing snmp special-login store system task tool tr069-client user user-manager
zerotier
"""
_COMMANDS: Final = """
add comment disable edit enable export find get import move print remove reset set unset
"""
# Below the roots: menus of RouterOS 6 and 7, from exports and the documentation.
_MENUS: Final = """
aaa access access-list accounting action address address-list address-lists address-prefix
addresses advertise advertisements aggregate alert alerts align amt anti-theft apn area area-range
area-template auto-supout autonomous backup bfd bgp bgp-mpls-vpn bgp-signaled bgp-vpls bluetooth
bonding bootstrap bridge broker brokers calea cap caps-man capsman channel channels cisco-bgp-vpls
clear-override client client-settings clients clock cloud cloud-backup cloud-file-share community
config configuration connect-list connection connections console-logs containers controller
counters cpu cycle datapath dhcp-client dhcp-relay dhcp-server dhcp-server-network dialer
discovery discovery-settings distance dns dnssd dot1x ds-lite dst-address dynamic-in e-mail
eap-settings email envs eoip eoipv6 ethercat ethernet fan fetch filter filters firewall flood-ping
forwarding-bindings forwarding-table fp gpio gps graphing gre gre6 group groups guest hardware
health history host hosts hotspot id identity igmp-proxy import-settings install instance
instances interface interface-list interface-lists interface-template interfaces iot-bt ip-binding
ip-scan ipip ipipv6 ipsec ipv6-address isis key keymap keys kid-control l2tp-client l2tp-ether
l2tp-server l3hw-settings label layer7-protocol ldp ldp-interface lease leases led leds license
limits list listen lists lldp local-bindings local-mapping logging lte mac mac-ping mac-server
mac-telnet mac-winbox macsec macvlan mangle manual manual-sa manual-tx-power-table matcher mdb
mdns media member members mesh mirror mlag mme mode-config monitor mounts mqtt mrib mroute msti
nat nat-pmp nd neighbor neighbors netflow netinstall netmap netwatch network networks node nodes
note nstreme nstreme-dual ntp num-list nv2 object openflow option option-matcher options ospf
ospf-router ospf-v3 ovpn-client ovpn-server package packages packing parent partition peer
peer-map peers pim pimsm ping ping-speed poe policies policy pool port port-controller
port-extender port-isolation ports ppp-client ppp-server pppoe-client pppoe-server pptp-client
pptp-server pref-src prefix prefix-list prefix-lists print-settings priority private profile
profiler profiles proposal protocol proxy proxy-arp qos queue radv rates raw realm reboot redirect
regexp registration-table relay remote-access remote-bindings remote-mapping reset-button resource
rip ripng rndis romon route route-map router routerboard routes rpki rps rstp rule rules ruleset
running sa sample scan scep-server schedule scheduler screen script secret secrets security
security-profile security-profiles select-chain select-rule selections sensor server
server-binding servers service service-port services session sessions settings setup shares simple
smb sms sniffer snooper socks socksify sound special speed-test src-address ssh ssh-keys sshd
sstp-client sstp-server starlink static statistics stats status store sup-output support switch
switch-cpu table tables tag target telnet tftp tone torch traceroute tracking traffic-eng
traffic-engineering traffic-flow traffic-generator traffic-monitor transceiver translation tree
trigger tunnel tunnel-path twamp type update upgrade upnp ups usb user-manager users veth vif
virtual-if virtual-link vlan vlan-filtering vlans vpls vpn vpnv4 vpnv6-route vrf vrrp vteps vxlan
w60g walled-garden watchdog web-proxy whitelist wifi wifi-radio wifiwave2 wireguard wireless
wireless-settings wmm wol workgroup wps zones
"""
ROOTS: Final = frozenset(_ROOTS.split())
COMMANDS: Final = frozenset(_COMMANDS.split())
MENUS: Final = ROOTS | frozenset(_MENUS.split())
_MAX_WORDS: Final = 6
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_SEPARATOR = re.compile(r"[ \t/]+")


def split_path(line: str) -> tuple[str, str] | None:
    """The menu path at the beginning of a line, and what follows it; None without a known one.

    Both `/ip firewall filter add …` and `/ip/firewall/filter/add …` give `/ip firewall filter`
    and `add …`; what follows is empty for a line that only opens a section.
    """
    if not line.startswith("/"):
        return None
    words: list[str] = []
    at = 1
    for separator in _SEPARATOR.finditer(f"{line[1:256]} "):
        word = line[at : separator.start() + 1]
        if word in COMMANDS or len(words) == _MAX_WORDS or not _WORD.match(word):
            break
        words.append(word)
        at = separator.end() + 1
    if not words or words[0] not in ROOTS:
        return None
    return "/" + " ".join(words), line[at:].lstrip(" \t/")


def whole_path(text: str) -> str | None:
    """The menu path that a text is, with nothing before or after it; else None."""
    split = split_path(text)
    return split[0] if split and not split[1] else None


def publishable(path: str) -> str:
    """What of a menu path may be in an event: its beginning, as far as its words are known menus.

    Any other word may be text that only stands where a menu would.
    """
    words = path.removeprefix("/").split(" ")
    known = 0
    while known < len(words) and words[known] in MENUS:
        known += 1
    return "/" + " ".join(words[:known]) if known and words[0] in ROOTS else ""


def publishable_menu(text: str) -> str | None:
    """What of the menu path that a text is may be in an event; None for any other text."""
    path = whole_path(text)
    return publishable(path) if path else None


def with_sections(logical: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Logical lines under their sections, from `/section` lines and from terse ones alike."""
    section = ""
    for line in logical:
        split = split_path(line)
        if split is None:
            yield section, line
        elif split[1]:
            yield split
        else:
            section = split[0]
