"""First configurations of the made-up devices: a base for RouterOS 6 and 7, and what a role adds.

Addresses are those of RFC 1918, RFC 5737 and RFC 3849; every name and secret is invented. `{name}`,
`{lan}` (the first three octets of a network) and `{wan}` (a last octet) are the device's own.
"""

from __future__ import annotations

from typing import Literal

_LAN = """\
/interface bridge
add comment="office network" name=bridge-lan protocol-mode=rstp
/interface ethernet
set [ find default-name=ether1 ] comment=uplink name=ether1-wan
/interface list
add name=WAN
add name=LAN
"""

_ADDRESSES = """\
/ip pool
add name=pool-lan ranges={lan}.100-{lan}.199
/ip dhcp-server
add address-pool=pool-lan interface=bridge-lan lease-time=8h name=dhcp-lan
/interface bridge port
add bridge=bridge-lan interface=ether2
add bridge=bridge-lan interface=ether3
add bridge=bridge-lan interface=ether4
/interface list member
add interface=ether1-wan list=WAN
add interface=bridge-lan list=LAN
/ip address
add address={lan}.1/24 comment="office network" interface=bridge-lan network={lan}.0
add address=203.0.113.{wan}/24 comment=uplink interface=ether1-wan network=203.0.113.0
/ip dhcp-server network
add address={lan}.0/24 dns-server={lan}.1 domain=office.example gateway={lan}.1
/ip dns
set allow-remote-requests=yes servers=192.0.2.53,198.51.100.53
"""

_FIREWALL = """\
/ip firewall address-list
add address=192.168.99.0/24 comment="administrators, over the tunnel" list=management
add address=198.51.100.16/28 comment="monitoring of the provider" list=monitoring
/ip firewall filter
add action=accept chain=input comment="answers to what was asked" \
connection-state=established,related
add action=drop chain=input comment="broken connections" connection-state=invalid
add action=accept chain=input comment="management: ssh and winbox" dst-port=22,8291 protocol=tcp \
src-address-list=management
add action=accept chain=input comment="monitoring may ping" protocol=icmp \
src-address-list=monitoring
add action=drop chain=input comment="everything else from outside" in-interface-list=!LAN
add action=fasttrack-connection chain=forward connection-state=established,related
add action=accept chain=forward connection-state=established,related
add action=drop chain=forward comment="from outside only what was forwarded" \
connection-nat-state=!dstnat connection-state=new in-interface-list=WAN
/ip firewall nat
add action=masquerade chain=srcnat comment="office to the internet" out-interface-list=WAN
add action=dst-nat chain=dstnat comment="web server in the office" dst-port=443 \
in-interface-list=WAN protocol=tcp to-addresses={lan}.20 to-ports=443
"""

_SERVICES = """\
/ip service
set telnet disabled=yes
set ftp disabled=yes
set www disabled=yes
set api disabled=yes
/snmp community
set [ find default=yes ] addresses=198.51.100.16/28 name=demo-community
/snmp
set contact=noc@example.net enabled=yes location="{name}, rack 2"
/system clock
set time-zone-name=Europe/Berlin
/system identity
set name={name}
"""

_ROUTES_6 = """\
/ip route
add comment="to the provider" distance=1 gateway=203.0.113.1
"""
_ROUTES_7 = """\
/ip route
add comment="to the provider" disabled=no dst-address=0.0.0.0/0 gateway=203.0.113.1 \
routing-table=main
/ipv6 address
add address=2001:db8:0:{wan}::1 comment="office network" interface=bridge-lan
"""

_TIME_6 = """\
/system ntp client
set enabled=yes primary-ntp=192.0.2.123 secondary-ntp=198.51.100.123
"""
_TIME_7 = """\
/system ntp client
set enabled=yes
/system ntp client servers
add address=192.0.2.123
add address=198.51.100.123
"""

VPN_SERVER = """\
/interface l2tp-server server
set authentication=mschap2 enabled=yes ipsec-secret="demo ipsec secret one" use-ipsec=required
"""

VPN_USERS = """\
/ppp secret
add comment="laptop 1" local-address=192.168.99.1 name=laptop-1 password=demo-password-1 \
remote-address=192.168.99.11 service=l2tp
add comment="laptop 2" local-address=192.168.99.1 name=laptop-2 password=demo-password-2 \
remote-address=192.168.99.12 service=l2tp
"""

WIFI = """\
/interface wifi security
add authentication-types=wpa2-psk,wpa3-psk disabled=no name=security-office \
passphrase=demo-passphrase-one
/interface wifi configuration
add country=Germany disabled=no name=office security=security-office ssid=example-office
/interface wifi
set [ find default-name=wifi1 ] configuration=office configuration.mode=ap disabled=no
set [ find default-name=wifi2 ] channel.frequency=5180,5260,5500 configuration=office \
configuration.mode=ap disabled=no
"""

SCRIPTS = """\
/system scheduler
add interval=1d name=nightly on-event=nightly policy=read,write,policy,test start-time=02:00:00
/system script
add dont-require-permissions=no name=nightly owner=admin policy=read,write,policy,test \
source=":log info \\"nightly check\\"\\r\\n:foreach one in=[/interface find where running=no] \
do={\\r\\n  :log warning \\"down: \\$[/interface get \\$one name]\\"\\r\\n}"
"""

ROUTING = """\
/routing ospf instance
add disabled=no name=backbone router-id=10.255.0.1
/routing ospf area
add disabled=no instance=backbone name=area-0
/routing ospf interface-template
add area=area-0 auth=md5 auth-id=1 auth-key=demo-ospf-key cost=10 disabled=no interfaces=bridge-lan
"""


def configuration(
    major: Literal[6, 7],
    *,
    name: str,
    lan: str,
    wan: int,
    interfaces: str = "",
    protocols: str = "",
    system: str = "",
) -> str:
    """A device's first configuration, one logical line a line; roles go where exports have them."""
    text = "".join(
        (
            _LAN,
            interfaces,
            _ADDRESSES,
            _FIREWALL,
            _ROUTES_6 if major == 6 else _ROUTES_7,
            protocols,
            _SERVICES,
            _TIME_6 if major == 6 else _TIME_7,
            system,
        )
    )
    for placeholder, value in (("{name}", name), ("{lan}", lan), ("{wan}", str(wan))):
        text = text.replace(placeholder, value)
    return text
