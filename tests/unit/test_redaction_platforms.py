"""Secrets at the places that vendors document, amid other lines: none is left, nothing else goes.

The places and the neutral lines are written from the vendors' command references, not from the
rules: a place that a reference names and that is missing here is worth adding.
"""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.canonical import canonicalise
from domain.profiles import PROFILES
from domain.redaction import Redactor, redacted
from domain.semantic.lines import tell_lines

REDACTOR = Redactor(b"k" * 32, "r1")
_HASH = re.compile(r"<secret:[0-9a-f]{8}>")
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
# No template has such letters, so that a piece of a secret is never there by chance; those without
# digits look like words, and are found by where they stand alone.
SECRETS = st.one_of(st.text("QZJXWV", min_size=8), st.text("QZJXWV0189-", min_size=8)).filter(
    lambda one: len(set(one)) > 3 and one.strip("-") == one and len(one) < 24
)
PLATFORMS = st.sampled_from(sorted(PLACES))


def lines_of(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


@settings(max_examples=250, deadline=None)
@given(PLATFORMS, st.data(), st.sampled_from(("\n", "\r\n")))
def test_amid_other_lines_a_secret_alone_is_hidden(
    platform: str, data: st.DataObject, end: str
) -> None:
    places = data.draw(st.lists(st.sampled_from(lines_of(PLACES[platform])), max_size=6))
    others = data.draw(st.lists(st.sampled_from(lines_of(NEUTRAL[platform])), max_size=6))
    order = data.draw(st.permutations([*places, *others]))
    secrets = data.draw(st.lists(SECRETS, min_size=len(order), max_size=len(order)))
    given_lines = [line.replace("{}", one) for line, one in zip(order, secrets, strict=True)]
    text = end.join([*given_lines, ""])
    result = redacted(text, platform, REDACTOR)
    for line, one, after in zip(order, secrets, result.split(end), strict=False):
        assert one not in after, line
        kept = line.replace("{}", REDACTOR.secret(one))
        # A hash needs no quotes, and may have those of the secret.
        assert _bare(after) == _bare(kept), line
    assert result.count(end) == text.count(end)
    assert redacted(result, platform, REDACTOR) == result


def _bare(line: str) -> str:
    return re.sub(r"""(["'])(<secret:[0-9a-f]{8}>)\1""", r"\2", line)


@settings(max_examples=120, deadline=None)
@given(PLATFORMS, st.data(), SECRETS, SECRETS)
def test_equal_secrets_have_equal_hashes_at_all_places_and_others_have_not(
    platform: str, data: st.DataObject, one: str, other: str
) -> None:
    first, second = data.draw(
        st.tuples(*[st.sampled_from(lines_of(PLACES[platform]))] * 2), label="places"
    )
    hashes = [
        _HASH.findall(redacted(line.replace("{}", secret), platform, REDACTOR))
        for line, secret in ((first, one), (second, one), (second, other))
    ]
    assert REDACTOR.secret(one) in hashes[0]
    assert REDACTOR.secret(one) in hashes[1]
    assert (REDACTOR.secret(one) in hashes[2]) == (one == other)


def test_every_place_hides_and_every_other_line_stays() -> None:
    for (platform, places), one in product(PLACES.items(), ("QZ01XJ98WV", "QZXJVWQZ")):
        for line in lines_of(places):
            shown = redacted(line.replace("{}", one), platform, REDACTOR)
            assert _bare(shown) == _bare(line.replace("{}", REDACTOR.secret(one)))
        for line in lines_of(NEUTRAL[platform]):
            assert redacted(line, platform, REDACTOR) == line


def test_words_may_stand_apart_by_any_blanks() -> None:
    secret = "QZ01XJ98WV"
    for platform, places in PLACES.items():
        for line, blanks in product(lines_of(places), ("  ", "\t", " \t ")):
            indent = line[: len(line) - len(line.lstrip())]
            apart = indent + line[len(indent) :].replace(" ", blanks) + blanks
            shown = redacted(apart.replace("{}", secret), platform, REDACTOR)
            assert _bare(shown) == _bare(apart.replace("{}", REDACTOR.secret(secret))), line


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(lines_of(PLACES["vyos"])),
    st.lists(st.sampled_from(("'", '"', " ", "QZXJ", "authorization", "x")), min_size=1),
)
def test_a_quote_in_a_value_of_vyos_ends_no_secret(place: str, pieces: list[str]) -> None:
    before, _, behind = place.replace(" {} ", " '{}' ").partition("{}")
    shown = redacted(f"{before}{''.join(pieces)}QZXJ{behind}\n", "vyos", REDACTOR)
    assert _HASH.sub("", shown) == before.removesuffix("'") + behind.removeprefix("'") + "\n"


_LONG = {
    "openwrt": ("\toption password 'first\nQZXJ WV\nlast'\n", "\toption ssid 'a\nb'\n"),
    "junos": ('    encrypted-password "first\nQZXJ WV\nlast"; /* x */\n', '    message "a\nb";\n'),
    "vyos": (
        "set system login user u authentication plaintext-password 'first\nQZXJ WV\nlast'\n",
        "set system login banner pre-login 'a\nb'\n",
    ),
    "fortios": ('        set passwd "first\nQZXJ WV\nlast"\n', '        set buffer "a\nb"\n'),
}


def test_of_a_secret_over_several_lines_none_is_left() -> None:
    for platform, (secret, other) in _LONG.items():
        text = other + secret + other
        shown = redacted(text, platform, REDACTOR)
        assert shown.startswith(other)
        assert shown.endswith(other)
        assert all(one not in shown for one in ("QZXJ", "WV", "first", "last")), shown
        assert shown.count("\n") == text.count("\n")
        assert redacted(shown, platform, REDACTOR) == shown
        changed = redacted(text.replace("WV", "VW"), platform, REDACTOR)
        lines = zip(shown.split("\n"), changed.split("\n"), strict=True)
        assert sum(one != two for one, two in lines) == 2, "the whole, and the line"


def test_a_secret_over_several_lines_is_in_no_told_change() -> None:
    for platform, (secret, _) in _LONG.items():
        before, after = (canonicalise(one, platform) for one in ("", secret))
        told = tell_lines(before, after, PROFILES[platform], REDACTOR)
        assert told.changes
        assert all(one not in repr(told) for one in ("QZXJ", "WV", "last")), told


def test_what_goes_on_behind_a_secret_for_very_long_is_hidden_too() -> None:
    for platform, (secret, other) in _LONG.items():
        text = other + secret.replace("QZXJ WV", "QZXJ WV\n" * 5000)
        shown = redacted(text, platform, REDACTOR)
        assert shown.startswith(other)
        assert all(one not in shown for one in ("QZXJ", "WV", "first", "last")), platform


def test_keys_of_other_kinds_than_pem_are_hidden() -> None:
    for label in ("OpenVPN Static key V1", "PGP PRIVATE KEY BLOCK", "RSA PRIVATE KEY"):
        text = f"\toption x '-----BEGIN {label}-----\nQZ01XJ98WV\n-----END {label}-----'\n"
        shown = redacted(text, "openwrt", REDACTOR)
        assert "QZ01XJ98WV" not in shown
        assert shown == text.replace("QZ01XJ98WV", REDACTOR.secret("QZ01XJ98WV"))
