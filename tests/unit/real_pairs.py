"""Pairs of real exports, read by hand: menu, kind and properties of each change between them.

The first ten are consecutive versions of one device, all that there are; the others are exports of
devices that are set up alike, or of one device further apart. `3 x` stands for three such lines.
"""

from __future__ import annotations

from typing import Final

PAIRS: Final = {
    ("netutils-ag1/000", "netutils-ag1/001"): """
        /routing ospf interface: modified interface
    """,
    ("netutils-ag1/001", "netutils-ag1/002"): """
        /routing ospf interface: modified interface
        /routing ospf network: removed area network
    """,
    ("netutils-ag1/002", "netutils-ag1/003"): """
        /routing ospf network: added area network
        /system note: added note
    """,
    ("netutils-ag1/003", "netutils-ag1/004"): """
        /system note: modified note
    """,
    ("branch5-matola/000", "branch5-matola/001"): """
        /interface bridge: removed name
        5 x /interface bridge port: modified bridge
        /ip ipsec peer: added address local-address name
        /ip ipsec identity: added peer
        /ip ipsec policy: added dst-address peer src-address tunnel
    """,
    ("branch28-hanhane/000", "branch28-hanhane/001"): """
        /ip ipsec peer: added address local-address name
        /ip ipsec identity: added peer
        /ip ipsec policy: added dst-address peer src-address tunnel
        /ip service: added disabled
    """,
    ("branch10-c700/000", "branch10-c700/001"): """
        /routing ospf interface-template: modified cost
        /ip ipsec peer: added address local-address name
        /ip ipsec identity: added peer
        /ip ipsec policy: added dst-address peer src-address tunnel
    """,
    ("branch61-hqcore/000", "branch61-hqcore/001"): """
        /interface bridge: removed name
        2 x /interface bridge port: modified bridge
        3 x /ip ipsec peer: added address local-address name
        3 x /ip ipsec identity: added peer
        3 x /ip ipsec policy: added dst-address peer src-address tunnel
    """,
    ("dennyhalim-vpn951g/000", "dennyhalim-vpn951g/001"): """
        /interface wireless: added disabled mac-address master-interface name security-profile ssid
        /interface wireless security-profiles: modified authentication-types
        /interface wireless security-profiles: added authentication-types mode name \
            supplicant-identity wpa-pre-shared-key wpa2-pre-shared-key
        /ip dhcp-server: modified interface
        /interface list member: removed list
        /interface list member: added interface list
        /system identity: removed name
        /interface bridge: added name
        /interface bridge filter: added action chain in-interface
        /interface bridge filter: added action chain out-interface
        6 x /interface bridge port: added bridge interface
        /interface wireless access-list: added ap-tx-limit interface
    """,
    ("ntc-ipaddr-verbose/000", "ntc-ipaddr-verbose/001"): """
        /ip address: removed address disabled interface network
        /ip address: added address disabled interface network
        /ip address: added address comment disabled interface network
    """,
    ("lab-daria-donina-router1/000", "lab-daria-donina-router2/000"): """
        /interface ovpn-client: modified certificate mac-address
        /routing id: removed disabled id name select-dynamic-id
        /ip ssh: removed forwarding-enabled
        /disk: added disabled
    """,
    ("lab-lexxapressf-router1/000", "lab-lexxapressf-router2/000"): """
        /interface ovpn-client: modified certificate mac-address
        /routing id: removed disabled id name select-dynamic-id
        /ip ssh: removed forwarding-enabled
        /disk: added disabled
    """,
    ("lab-molchanovanika-router1/000", "lab-molchanovanika-router2/000"): """
        /interface ovpn-client: modified certificate mac-address
        /disk: removed disabled
    """,
    ("lab-inlived-router1/000", "lab-inlived-router2/000"): """
        /interface ovpn-client: modified certificate mac-address
        /disk: removed disabled
    """,
    ("lab-fiji6479-chr1/000", "lab-fiji6479-chr2/000"): """
        /interface ovpn-client: modified certificate mac-address user
        4 x /disk: removed slot type
    """,
    ("lab-geetork-router/000", "lab-geetork-router2/000"): """
        /interface ovpn-client: modified mac-address user
        /ip pool: removed name ranges
        /ppp profile: removed local-address name remote-address
        /routing id: modified id
        /interface ovpn-server server: removed certificate cipher port
        2 x /ip address: removed address interface network
        2 x /ip address: added address interface network
        /routing ospf interface-template: modified networks type
        /routing ospf interface-template: moved
        /system identity: renamed name
        /system logging: removed topics
    """,
    ("oxidized-chr-7.10.1/000", "oxidized-chr-7.16/000"): """
        28 x /disk: removed slot type
        /interface wireless security-profiles: removed supplicant-identity
        /ip address: removed address interface network
        /ip address: added address interface network
        /ip ssh: removed always-allow-password-login
    """,
    ("netutils-ag1/000", "netutils-ag1/002"): """
        /routing ospf network: removed area network
    """,
    ("netutils-ag1/001", "netutils-ag1/003"): """
        /routing ospf interface: modified interface
        /system note: added note
    """,
    ("netutils-ag1/001", "netutils-ag1/000"): """
        /routing ospf interface: modified interface
    """,
    ("netutils-ag1/004", "netutils-ag1/002"): """
        /routing ospf network: removed area network
        /system note: removed note
    """,
    ("branch5-matola/000", "branch28-hanhane/000"): """
        /interface bridge: removed name
        /ip pool: modified ranges
        5 x /interface bridge port: removed bridge interface
        4 x /ip address: removed address interface network
        4 x /ip address: added address interface network
        /ip dhcp-server network: removed address gateway
        /ip dhcp-server network: added address gateway
        /ip service: removed disabled
        2 x /routing ospf interface-template: modified cost
        /routing ospf interface-template: added area cost disabled interfaces
        /system identity: renamed name
    """,
    ("branch28-hanhane/000", "branch10-c700/000"): """
        /ip pool: modified ranges
        4 x /ip address: removed address interface network
        3 x /ip address: added address interface network
        /ip dhcp-server network: removed address gateway
        /ip dhcp-server network: added address gateway
        /routing ospf interface-template: modified cost
        /routing ospf interface-template: moved
        /routing ospf interface-template: removed area cost disabled interfaces
        /system identity: renamed name
        /system note: removed show-at-login
        /ip service: added disabled
    """,
    ("branch10-c700/001", "branch28-hanhane/001"): """
        /ip ipsec peer: modified local-address
        /ip pool: modified ranges
        3 x /ip address: removed address interface network
        4 x /ip address: added address interface network
        /ip dhcp-server network: removed address gateway
        /ip dhcp-server network: added address gateway
        /ip ipsec policy: modified src-address
        /routing ospf interface-template: modified cost
        /routing ospf interface-template: moved
        /routing ospf interface-template: added area cost disabled interfaces
        /system identity: renamed name
        /system note: added show-at-login
    """,
    ("branch5-matola/001", "branch28-hanhane/001"): """
        /ip ipsec peer: modified local-address
        /ip pool: modified ranges
        5 x /interface bridge port: removed bridge interface
        4 x /ip address: removed address interface network
        4 x /ip address: added address interface network
        /ip dhcp-server network: removed address gateway
        /ip dhcp-server network: added address gateway
        /ip ipsec policy: modified src-address
        2 x /routing ospf interface-template: modified cost
        /routing ospf interface-template: added area cost disabled interfaces
        /system identity: renamed name
    """,
    ("lab-daria-donina-router1/000", "lab-lexxapressf-router1/000"): """
        /interface ovpn-client: modified certificate connect-to mac-address user
    """,
    ("lab-molchanovanika-router1/000", "lab-inlived-router1/000"): """
    """,
    ("lab-molchanovanika-router2/000", "lab-inlived-router2/000"): """
    """,
}
