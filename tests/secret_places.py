"""Where vendors document secrets, with `{}` for the secret; and lines among them that are none.

They are written from the vendors' command references, not from the rules: a place that a reference
names and that is missing here is worth adding.
"""

from __future__ import annotations

PLACES = {
    "ios": """
enable secret 9 {}
enable password level 7 {}
username ada privilege 15 secret 5 {}
username ada password 7 {}
 password {}
 password 7 {}
snmp-server community {} RO 10
snmp-server host 192.0.2.7 version 2c {}
snmp-server user u g v3 auth sha {} priv aes 128 {}
snmp-server user u g v3 auth md5 {} priv des {}
tacacs-server host 192.0.2.8 key 7 {}
tacacs-server key {}
radius-server host 192.0.2.8 auth-port 1812 acct-port 1813 key {}
radius-server key 7 {}
 key {}
 key 6 {}
 address ipv4 192.0.2.7 auth-port 1812 acct-port 1813 pac key 7 {}
  pac key {}
 client 192.0.2.7 server-key 7 {}
  key-string {}
  key-string 7 {}
crypto isakmp key {} address 192.0.2.9
crypto isakmp key 6 {} hostname peer.example.net
  pre-shared-key address 0.0.0.0 0.0.0.0 key {}
  pre-shared-key local {}
  pre-shared-key {}
 ip ospf authentication-key 7 {}
 ip ospf message-digest-key 1 md5 {}
 ip ospf message-digest-key 10 md5 7 {}
 area 1 virtual-link 192.0.2.1 message-digest-key 1 md5 {}
 isis password {} level-1
 area-password {}
 domain-password {} authenticate snp validate
 neighbor 192.0.2.2 password {}
 neighbor 192.0.2.2 password 7 {}
 standby 1 authentication md5 key-string 7 {}
 standby 1 authentication {}
 vrrp 1 authentication text {}
 glbp 1 authentication md5 key-string {}
 ip nhrp authentication {}
 ppp chap password 0 {}
 ppp pap sent-username ada password 7 {}
 l2tp tunnel password 7 {}
ntp authentication-key 1 md5 {} 7
ntp authentication-key 1 hmac-sha2-256 {}
 authentication mode hmac-sha-256 7 {}
mpls ldp neighbor 192.0.2.1 password 7 {}
ip ftp password 7 {}
ip http client password 0 {}
 wpa-psk ascii 0 {}
 security wpa psk set-key ascii 0 {}
cts credentials id r1 password 7 {}
cts sxp default password 7 {}
 sap pmk {} mode-list gcm-encrypt
 set session-key inbound ah 256 {}
 set session-key outbound esp 256 cipher {} authenticator {}
event manager environment _mail_pw {}
 bind authenticate root-dn cn=ada password 0 {}
 authentication username ada password 7 {}
""",
    "eos": """
username ada privilege 15 role network-admin secret sha512 {}
enable password sha512 {}
boot secret sha512 {}
aaa root secret sha512 {}
snmp-server community {} ro
snmp-server user ops g v3 auth sha {} priv aes {}
radius-server host 192.0.2.8 key 7 {}
radius-server key 7 {}
tacacs-server host 192.0.2.8 vrf MGMT key 7 {}
tacacs-server key {}
   neighbor 192.0.2.0 password 7 {}
   neighbor PEERS password {}
   ip ospf message-digest-key 1 sha512 7 {}
   ip ospf authentication-key 7 {}
   isis authentication key 7 {}
   isis authentication key-id 1 algorithm sha-1 key 7 {}
   authentication key 7 {}
ntp authentication-key 1 sha1 7 {}
   key 0abcdef0 7 {}
   key 0a {} fallback
   mka key 0abcdef0 7 {}
   secret 10 7 {} receive-lifetime infinite
   shared-secret 7 {}
   shared-key 7 {}
   exec /usr/bin/TerminAttr -ingestgrpcurl=192.0.2.9:9910 -ingestauth=key,{} -smashexcludes=ale
   exec /usr/bin/TerminAttr -cvauth=key,{}
   vrrp 1 authentication text {}
   auth username ada password 7 {}
   neighbor 192.0.2.9 password 7 {}
""",
    "junos": """
    encrypted-password "{}"; ## SECRET-DATA
        secret "{}"; ## SECRET-DATA
        secret "{}";
    authentication-key "{}";
    authentication-key 1 type md5 value "{}";
    authentication-key 1 type md5 value "{}"; ## SECRET-DATA
    hello-authentication-key "{}";
        pre-shared-key ascii-text "{}";
        md5 1 key "{}";
    simple-password "{}";
    chap-secret "{}";
    pap-password "{}";
        authentication-password "{}";
        privacy-key "{}";
    cak "{}";
set system root-authentication encrypted-password "{}"
set system login user ada authentication encrypted-password "{}"
set system radius-server 192.0.2.8 secret "{}"
set system tacplus-server 192.0.2.8 secret "{}"
set system ntp authentication-key 1 type md5 value "{}"
set snmp v3 usm local-engine user u authentication-sha authentication-key "{}"
set snmp v3 usm local-engine user u privacy-aes128 privacy-password "{}"
set snmp v3 snmp-community i community-name "{}"
set protocols ospf area 0.0.0.0 interface ge-0/0/0.0 authentication md5 1 key "{}"
set protocols isis level 2 authentication-key "{}"
set protocols isis interface ge-0/0/0.0 level 2 hello-authentication-key "{}"
set protocols bgp group g authentication-key "{}"
set protocols ldp session 192.0.2.1 authentication-key "{}"
set security ike policy p pre-shared-key ascii-text "{}"
set security ipsec security-association s manual direction inbound encryption key ascii-text "{}"
set security macsec connectivity-association c pre-shared-key cak "{}"
set security authentication-key-chains key-chain k key 0 secret "{}"
set access profile p client u chap-secret "{}"
set access radius-server 192.0.2.8 secret "{}"
set interfaces irb unit 0 family inet address 192.0.2.1/24 vrrp-group 1 authentication-key "{}"
set system archival configuration archive-sites "ftp://ada@192.0.2.9/x" password "{}"
""",
    "vyos": """
set system login user ada authentication plaintext-password '{}'
set system login user ada authentication encrypted-password '{}'
set system login radius server 192.0.2.8 key '{}'
set system login user ada authentication otp key '{}'
set service snmp community {} authorization 'ro'
set service snmp v3 user u auth plaintext-password '{}'
set service snmp v3 user u privacy encrypted-password '{}'
set interfaces wireguard wg0 private-key '{}'
set interfaces wireguard wg0 peer p preshared-key '{}'
set interfaces pppoe pppoe0 authentication password '{}'
set interfaces wireless wlan0 security wpa passphrase '{}'
set interfaces macsec macsec0 security mka cak '{}'
set interfaces openvpn vtun0 authentication password '{}'
set vpn ipsec authentication psk p secret '{}'
set vpn ipsec site-to-site peer p authentication pre-shared-secret '{}'
set vpn l2tp remote-access authentication local-users username u password '{}'
set vpn l2tp remote-access authentication radius server 192.0.2.8 key '{}'
set protocols bgp neighbor 192.0.2.2 password '{}'
set protocols ospf area 0 virtual-link 192.0.2.1 authentication plaintext-password '{}'
set protocols ospf interface eth0 authentication md5 key-id 1 md5-key '{}'
set protocols isis area-password plaintext-password '{}'
set protocols isis interface eth0 password md5 '{}'
set protocols nhrp tunnel tun0 authentication '{}'
set container name c environment API_TOKEN value '{}'
set high-availability vrrp group g authentication password '{}'
set service https api keys id k key '{}'
set service dns dynamic name d password '{}'
set service webproxy authentication ldap password '{}'
set service monitoring telegraf influxdb authentication token '{}'
set pki ca c private key '{}'
set pki openvpn shared-secret s key '{}'
""",
    "openwrt": """
	option key '{}'
	option key1 '{}'
	option sae_password '{}'
	option wps_pin '{}'
	option auth_secret '{}'
	option acct_secret '{}'
	option dae_secret '{}'
	option password '{}'
	option priv_key_pwd '{}'
	option private_key_passwd '{}'
	list r0kh '02:00:00:00:00:01,nas1,{}'
	list r1kh '02:00:00:00:00:01,02:00:00:00:00:02,{}'
	option private_key '{}'
	option preshared_key '{}'
	option pincode '{}'
	option pre_shared_key '{}'
	option community '{}'
	option secret '{}'
	option token '{}'
""",
    "fortios": """
        set password "{}"
        set passwd "{}"
        set psksecret "{}"
        set psksecret-remote "{}"
        set secret "{}"
        set secondary-secret "{}"
        set key "{}"
        set md5-key 1 "{}"
        set key-string "{}"
        set auth-pwd "{}"
        set priv-pwd "{}"
        set passphrase "{}"
        set sae-password "{}"
        set private-key "{}"
        set secret-key "{}"
        set client-secret "{}"
        set ddns-password "{}"
        set api-key "{}"
        set auth-password "{}"
        set password2 "{}"
        set ppk-secret "{}"
        set authkey "{}"
        set enckey "{}"
        set login-passwd "{}"
        set group-authentication-secret "{}"
""",
    "frr": """
password {}
enable password {}
 ip ospf authentication-key {}
 ip ospf message-digest-key 1 md5 {}
 area 0.0.0.1 virtual-link 192.0.2.1 message-digest-key 1 md5 {}
 ipv6 ospf6 authentication key-id 1 hash-algo hmac-sha-256 key {}
 ip rip authentication string {}
  key-string {}
 isis password md5 {}
 isis password clear {}
 area-password md5 {}
 domain-password clear {}
 neighbor 192.0.2.2 password {}
 neighbor 192.0.2.2 password {}
 neighbor 192.0.2.9 tcp md5 {}
  tcp-md5-auth {}
 ip nhrp authentication {}
""",
}
NEUTRAL = {
    "ios": """
service password-encryption
security passwords min-length 10
aaa new-model
aaa authentication login default group tacacs+ local
key chain ospf
 key 1
  accept-lifetime 00:00:00 Jan 1 2020 infinite
  cryptographic-algorithm hmac-sha-256
 ip ospf authentication message-digest
 ip ospf authentication key-chain ospf
 ip authentication key-chain eigrp 1 ospf
ip ssh server algorithm mac hmac-sha2-256
crypto isakmp policy 10
 authentication pre-share
 encryption aes 256
crypto ipsec transform-set T esp-aes 256 esp-sha-hmac
 neighbor 192.0.2.2 send-community both
 set community 64500:100 additive
ip community-list standard c permit 64500:100
snmp-server enable traps snmp authentication linkdown linkup
snmp-server view v iso included
snmp-server group g v3 priv
ntp trusted-key 1
ntp authenticate
tacacs-server timeout 3
radius-server retransmit 2
 tunnel key 100
 description uplink to r2 key account
interface GigabitEthernet0/0/1
 ip address 192.0.2.1 255.255.255.0
ip route 0.0.0.0 0.0.0.0 192.0.2.254
 login authentication default
privilege exec level 7 show running-config
banner motd ^C the password is known ^C
 security wpa akm psk
 rsakeypair TP-self-signed-3020291
""",
    "eos": """
management security
   password minimum length 12
management ssh
   authentication mode keyboard-interactive
username ada ssh-key ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGeheim
mac security
   profile p
      cipher aes256-gcm-xpn
   neighbor PEERS send-community
ip community-list c permit 64500:100
aaa authorization exec default local
interface Ethernet1/1
   ip ospf authentication message-digest
ntp trusted-key 1
daemon TerminAttr
   description key account
""",
    "junos": """
    authentication-order [ radius password ];
    authentication-method pre-shared-keys;
    authentication-algorithm hmac-sha-256-128;
    community c members 64500:100;
    minimum-length 12;
    ssh-rsa "ssh-rsa AAAAB3NzaGeheim ada";
    key-chain k {
    authentication-key-chain k;
set policy-options community c members 64500:100
set system services ssh root-login deny
set system login password minimum-length 12
set interfaces ge-0/0/0 description "the secret place"
set snmp location "room 7"
set security ike proposal p authentication-algorithm sha-256
""",
    "vyos": """
set system login user ada authentication public-keys k key 'AAAAB3NzaGeheim'
set system login user ada authentication public-keys k type 'ssh-rsa'
set service ssh disable-password-authentication
set interfaces wireguard wg0 peer p public-key '4u2MfEvs/CemLqNkfLS8mkunlWLrlcUfk='
set interfaces tunnel tun0 parameters ip key '100'
set policy route-map m rule 1 set community add '64500:100'
set interfaces ethernet eth0 description 'key account'
set vpn ipsec ike-group g proposal 1 encryption 'aes256'
set protocols bgp neighbor 192.0.2.2 remote-as '64500'
""",
    "openwrt": """
	option ssid 'password'
	option encryption 'psk2+ccmp'
	option PasswordAuth 'off'
	option public_key '4u2MfEvs/CemLqNkfLS8mkunlWLrlcUfk='
	option key '1'
	option ft_psk_generate_local '1'
	option description 'the key is under the mat'
	option ipaddr '192.0.2.1'
config wifi-iface 'default_radio0'
""",
    "fortios": """
    set password-policy enable
        set password-expire 0
        set comments "the password is known"
        set ssh-public-key1 "ssh-rsa AAAAB3NzaGeheim"
        set key-type rsa
        set set-community "64500:100"
        set send-community both
        set passwd-policy "p1"
        set ip 192.0.2.1 255.255.255.0
config user local
    edit "ada"
    next
""",
    "frr": """
service password-encryption
key chain rip
 key 1
 ip rip authentication key-chain rip
 ip ospf authentication message-digest
 neighbor 192.0.2.2 send-community all
 set community 64500:100 additive
bgp community-list standard c permit 64500:100
 description key account
interface eth0
""",
}
