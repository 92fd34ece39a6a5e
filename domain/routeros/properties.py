"""Names of RouterOS properties that are known to be names.

A text may hold anything where a property should stand, a password too. So of the names in a text
only these may go into an event; any other is told as `OTHER`.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"
_NAMES: Final = """
action active-flow-timeout add-default-route add-dhcp-option82 add-relative-distance address
address-list address-list-timeout address-pool address-pool-name address-prefix-length addresses
admin-mac advertise advertise-dns age allow-as-in allow-fast-path allow-guests allow-none-crypto
allow-remote-requests allow-roaming allowed-address allowed-interface-list
always-allow-password-login always-broadcast antenna-gain ap-tx-limit apn append-bgp-communities
area area-id arp arp-interval arp-ip-targets arp-timeout as as-override auth auth-algorithms
auth-id auth-key auth-method authentication authentication-key authentication-password
authentication-protocol authentication-types authoritative auto-isolate auto-mac auto-negotiation
auto-update auto-upgrade automatic-supout backup band bandwidth bgp-as-path bgp-communities
blackhole body bootp-support bridge broadcast broadcast-addresses bsd-syslog bucket-size
burst-limit burst-threshold burst-time ca-certificate cable-settings cache-max-ttl cache-size
called-format caller-id cert certificate chain change-tcp-mss channel channel-width chap
check-gateway cipher ciphers client-id client-to-client-reflection cluster-id comment compression
concurrent-query concurrent-query-size config configuration connect-to connection-bytes
connection-limit connection-mark connection-nat-state connection-rate connection-state
connection-type contact content cost country cpu-frequency crl-download crl-store crl-use
data-directory ddns-enabled dead-interval dead-peer-detection default default-authentication
default-forwarding default-gateway default-group default-name default-originate default-prepend
default-profile default-route-distance default-vlan-id delay-threshold detect-internet dh-group
dhcp-option dhcp-option-set dhcp-options dhcp-server dhcp-snooping dial-on-demand dir-name
disable-dad disable-ipv6 disable-pmkid disable-running-check disabled discover
discover-interface-list discovery distance distribute-default dns dns-name dns-server dns-servers
domain dont-fragment dont-require-permissions down-delay down-script dpd-interval
dpd-maximum-failures dscp dst-address dst-address-list dst-address-type dst-limit dst-mac-address
dst-path dst-port duplex duplicate-address-detection dynamic dynamic-label-range edge email enable
enabled enc-algorithm enc-algorithms encapsulation encryption encryption-password
encryption-protocol endpoint endpoint-address endpoint-port ether-type eui-64 exchange-mode export
exported-name facility fast-forward fast-leave fib file-limit file-name filter filter-action
filter-category filter-chain filter-id filter-interface filter-ip-address filter-port firewall
flow-control force-aes forward forward-delay forward-to forwarding-enabled fragment frame-priority
frame-types frequency frequency-mode from from-pool gateway generate-policy get-interval gre group
group-authentication group-ciphers group-encryption group-key-update guard-interval handle-absent
hash-algorithm hash-algorithms hello-interval hello-time hide-ssid hold-time hops horizon host
host-key-size host-name hotspot hotspot-address ht-supported-mcs html-directory http-data
http-header-field http-method http-port http-proxy https-port hw hw-offload hw-protection-mode
hw-retries icmp-options id identifier identity idle-timeout igmp-proxy igmp-snooping igmp-version
in-bridge in-bridge-port in-filter in-interface in-interface-list ingress-filtering ingress-rate
inject-summary-lsas input input-filter instance instance-id interface interface-list interfaces
interim-update internal-path-cost interval invalid-users ip ip-address ip-firewall ip-forward
ip-pool ip-protocol ip-type ipsec-policy ipsec-protocols ipsec-secret ipv4-options ipv6
ipv6-firewall jump-target keepalive keepalive-frames keepalive-time keepalive-timeout key key-owner
kind l2mtu l2mtu-type l3-hw-offloading lacp-rate lan-interface-list last-logged-in layer7-protocol
learn lease-script lease-time level lifetime lifetime-bytes limit limit-at limit-bytes-in
limit-bytes-out limit-bytes-total limit-uptime link-monitoring list listen-port local local-address
local-id local-port location log log-prefix login login-by login-timeout loop-protect
loop-protect-disable-time loop-protect-send-interval loopback lsr-id mac-address mac-cookie-timeout
mac-format mac-mode mac-protocol mac-server management-protection management-protection-key
master-interface master-port match-chain match-subdomain max max-connections max-entries
max-entry-ttl max-lease-time max-limit max-message-age max-mru max-mtu max-neighbor-entries
max-prefix max-sessions max-station-count max-udp-packet-size memory-lines method metric-bgp
metric-connected metric-default metric-ospf metric-other-ospf metric-rip metric-static mii-interval
min-links min-signal minimum-categories minimum-password-length mode mode-config mpls mpls-mtu
mq-pfifo-limit mrru mru mschap1 mschap2 mschapv2-password mschapv2-username mss mtu multicast
multicast-helper multicast-querier multicast-rate multicast-router multihop mvrp my-id name
name-format nas-port-type nat-traversal neighbors netmap netmask network network-type networks
new-connection-mark new-dscp new-mss new-packet-mark new-priority new-routing-mark new-ttl next-hop
next-pool next-server nexthop-choice no-client-to-client-reflection note nssa nth ntp-server
numbers on-alarm on-backup on-down on-error on-event on-login on-logout on-master on-up
only-headers only-one option option-set options originate-default ospf-instance out-bridge
out-bridge-list out-filter out-interface out-interface-list outgoing-filter output output-filter
owner packet-mark packet-size packet-type packets packing parent parent-queue passive passphrase
passthrough password path path-cost path-vlan-id peer per-connection-classifier permissions
persistent-keepalive pfs-group phase-a ping-timeout poe-out poe-priority point-to-point policy
policy-template-group pool pool-name port port-cost-mode ports preemption-mode pref-src preferred
preferred-source prefix prefix-hint prefix-length preshared-key primary-ntp primary-server priority
private-key private-pre-shared-key profile propagate-ttl proposal proposal-check
protected-routerboot protocol protocol-mode protocol-version protocols proxy-address proxy-arp psd
ptp public-address public-key pvid query-interval query-response-interval queue queue-type
ra-lifetime radio-mac radio-name radius radius-accounting random range-1 ranges rate rate-limit
rate-set raw reachable-time read-access realm reauthenticate reboot-on-failure receive-enabled
received-from redirect redistribute redistribute-bgp redistribute-connected redistribute-ospf
redistribute-other-bgp redistribute-rip redistribute-static regexp reject-with relay release remote
remote-address remote-as remote-id remote-image remote-ipv6-prefix-pool remote-port report
require-client-certificate resolve-interval restricted-role restricted-tcn reuse rfc1583 route
route-distance route-map route-reflect router-id routing routing-mark routing-table rp-filter rule
run run-after-reset rx-chains rx-flow-control safe-mode scan-list scope script secondary-ntp
secondary-server secret secrets secure-redirects security security-profile select-dynamic-id
send-email-to send-initial-contact send-redirects server server-address server-dns-names server-mac
servers service service-name service-type session-timeout set set-bgp-communities
set-bgp-local-pref set-bgp-prepend set-distance set-in-nexthop set-pref-src settings
sfp-rate-select sfp-shutdown-temperature shared-secret shared-users show-at-login silent-boot
skip-dfs-channels slaves slot smtp-server source space-policy speed split-user-domain src
src-address src-address-list src-address-prefix src-address-type src-mac-address src-path src-port
ssid ssl start-after start-date start-time state static-algo-0 static-key-0
station-bridge-clone-mac station-roaming status-autorefresh store-every store-leases-disk
store-on-disk strict strip-priority subnet summary supplicant-identity suppress-hw-offload switch
switch-cpu sync-connection-tracking synchronize syslog-facility syslog-severity table tag
tag-stacking tagged target target-scope tcp-close-timeout tcp-established-timeout tcp-flags
tcp-md5-key tcp-mss tcp-syncookies term test-script text thr-loss-percent thr-rtt-avg threshold
time time-zone-autodetect time-zone-name timeout title tls tls-host tls-mode tls-version to
to-address to-addresses to-ports topics tos track-mac transform transmit-hash-policy
transparent-proxy transport trap-community trap-generators trap-interfaces trap-target trap-version
trusted ttl tunnel tunnel-id tx-chains tx-flow-control tx-power tx-power-mode type
udp-stream-timeout udp-timeout unicast-ciphers unit unknown-multicast-flood unknown-unicast-flood
unpacking untagged up-delay up-script update-interval update-source upload upnp url usb-power-reset
use-bfd use-compression use-dn use-doh-server use-dynamic-keys use-encryption use-explicit-null
use-ip-firewall use-ip-firewall-for-pppoe use-ip-firewall-for-vlan use-ip2bus use-ipsec use-ipv6
use-local-address use-mpls use-network-apn use-ntp use-peer-dns use-peer-ntp use-profile use-radius
use-responder use-service-tag use-src-mac use-tls use-upnp used-as user user-agent user-auth-method
username v3-protocol valid-servers value vci verify-certificate verify-doh-cert version vlan
vlan-filtering vlan-header vlan-id vlan-ids vlan-mode vlan-protocol vni vpls-id vpnv4 vrf vrid vrrp
vtep wait-for-keepalive wan-interface-list watch-address watchdog-timer width winbox wins-server
wireless-protocol wmm-support wpa-pre-shared-key wpa2-pre-shared-key wpa3-pre-shared-key wps
write-access xauth-login zone
"""
NAMES: Final = frozenset(_NAMES.split())


def name_for_event(name: str) -> str:
    """The name of a property as it may be in an event."""
    bare = name.removeprefix("!")
    return name if all(part in NAMES for part in bare.split(".")) else OTHER
