"""Where the secrets of each platform stand in a line.

Vendors have hundreds of commands with a secret, and one form for nearly all of them: a word that
says what it is, perhaps how it is encrypted or hashed, and then the secret. So the expressions are
by word and not by command, and name what must *not* be taken.
"""

from __future__ import annotations

import re
from typing import Final

from domain.profiles.finding import Secrets
from domain.profiles.keys import Keys

# What is hidden already, or empty, is no secret.
_HIDDEN: Final = r"['\"]?<(?:secret|hidden)(?::[0-9a-f]{8})?>(?:[\s'\";,]|\Z)"
_NONE: Final = rf"(?!{_HIDDEN}|''(?!')|\"\"|[\]{{;])"
QUOTED: Final = r'"(?:[^"\\]|\\.)*"' r"|'[^']*'(?:\\''[^']*')*"
_WORD: Final = rf"{_NONE}(?P<secret>{QUOTED}|\S+)"
# Where a semicolon ends what is said.
_WORD_OF_BRACES: Final = rf"{_NONE}(?P<secret>{QUOTED}|[^\s;]+)"
# Where quotes in a value are not escaped, only the line's end ends it: `'it' s x'` is one.
_WORD_OF_SET: Final = rf"(?!{_HIDDEN}|(?:''|\"\")[ \t]*\Z|[\]{{;])(?P<secret>['\"](?s:.)*\S|\S+)"
# What may stand behind a secret of several words. It is looked for once in each run of blanks, and
# it has so many parts at most: else a line would take time by the square of its length.
_TAIL: Final = (
    r"(?<![ \t])(?:[ \t]+(?:encrypted|pbkdf2|fallback|localizedkey|level-[12]|realm \S+|hash \S+"
    r"|privilege \d+|role \S+|timeout \d+|(?:receive|send|accept)-lifetime .*|mode-list .*"
    r"|authenticate snp .*|(?:password|secret) .*)){0,6}+[ \t]*(?m:$)"
)
_REST: Final = rf"{_NONE}(?P<secret>\S.*?)(?={_TAIL})"
# How a secret is written, encrypted or hashed, in so many words at most. A last word is the secret
# itself, whatever it says.
_HASH: Final = r"(?:md5|sha-?(?:1|2|224|256|384|512)?|hmac-\S+|cmac-\S+|aes-\S+)"
_KINDS: Final = (
    rf"(?:[ \t]+(?:[0-9]|10|8a|{_HASH}|text|clear(?:-?text)?|encrypted|unencrypted|plain(?:text)?"
    r"|ascii(?:-text)?|hex(?:adecimal)?|local|remote|level \d+|password|passphrase)"
    r"(?=[ \t]+\S)){0,6}+"
)
_NUMBER: Final = rf"(?:[ \t]+\d+(?=[ \t]+{_HASH}[ \t]))?+"


def _then(start: str, more: str = "*") -> str:
    """What begins so, and goes on up to where that stands again: no place is looked at twice."""
    return rf"{start} (?:(?!{start} ).){more}"


def _all(*written: str, word: str = _WORD) -> Secrets:
    """Expressions in which `<S>` stands for a secret word, `<R>` for one up to the end, and `<K>`
    for the words between a name and its secret."""
    return Secrets(
        [
            one.replace("<K>", _NUMBER + _KINDS).replace("<S>", word).replace("<R>", _REST)
            for one in written
        ]
    )


# Hashes of passwords, and what Junos calls encrypted, are known by their form.
_CRYPT: Final = (
    r"(?<![\w$])(?P<secret>\$(?:\d{1,2}|2[abxy]|y|sha\d{1,3}|pbkdf2[\w-]*)\$[./\w$=,+-]{4,})"
)

_CISCO: Final = (
    r"(?<![\w-])snmp-server community <S>",
    r"(?<![\w-])(?:community-map|snmp-community) <S>",
    _then(r"\bsnmp-server host") + r"(?<=\d) community <S>",
    r"\bsnmp-server host \S+(?: vrf \S+)?+(?: (?:traps|informs))?+(?: version \S+)?+"
    r"(?: (?:auth|noauth|priv))?+ (?!\d+\.\d+\.|version |udp-port )<S>",
    _then(r"\bsnmp-server user") + r"\bauth \S+ <S>",
    _then(r"\bsnmp-server user")
    + r"\bpriv(?: (?:des|3des|aes)\S*(?: (?:128|192|256)(?= \S))?+)?+ <S>",
    # password 7 x, secret sha512 x, hello-password hmac-md5 encrypted x; not password-encryption.
    r"(?<![\w-])(?:[\w-]+-)?(?:password|passwd|passphrase|secret)"
    r"(?! (?:policy|encryption|encryption-key|minimum) \S)"
    r"(?!(?<=ldp password) (?:required|option|rollover|fallback)\b)<K> <R>",
    r"\bldp (?:vrf \S+ )?password fallback<K> <S>",
    r"(?<![\w-])(?:isis|area|domain)[ -]password<K> <S>",
    rf"\bntp authentication-key \d+ {_HASH}(?: [0-9](?= \S\S))?+ <S>",
    # server-key x, authentication-key 1 md5 x, set-key ascii 0 x; not the public ones.
    r"(?<![\w-])(?!(?:ssh|public|host|trusted|rsa|encryption|session|static-wep)-key\b)"
    r"(?:[\w-]+-key|key-string)(?! (?:address|hostname|key-chain)\b)<K> <R>",
    _then(r"\bpre-shared-key (?:address|hostname)") + r"\bkey<K> <S>",
    _then(r"\bstatic-wep-key") + r"\b(?:ascii|hex)(?: [0-9](?= \S))?+ <S>",
    r"\bsession-key (?:in|out)bound ah \d+ <S>",
    _then(r"\bsession-key", "*?") + r"\b(?:cipher|authenticator) (?!authenticator\b)<S>",
    _then(r"\bsession-key") + r"\bauthenticator <S>",
    # key x, key 7 x, key 0a1b 7 x: the second is the name of the key that follows.
    r"(?<![\w-])key [0-9a-fA-F]{2,}(?= \S+(?: fallback|\Z)| [0-9] )(?<!key 10)(?: [0-9](?= \S))?+ "
    r"<S>",
    r"(?<![\w-])(?<!crypto )(?<!tunnel )key"
    r"(?! \d+ (?:prefer|source|version|minpoll|maxpoll|burst|iburst)\b)"
    r"<K>(?!(?<=key) \d+\s*\Z) (?!chain\b|config-key\b|pubkey-chain\b|size\b"
    r"|permit\b|deny\b|\d+ size\b|\S+\.(?:pem|key|crt)\Z|[0-9a-fA-F]{2,} (?:[0-9] )?(?!address\b"
    r"|hostname\b|algorithm\b)\S+(?: fallback)?\Z)<S>",
    # Of digits only: not the number of a key, as NTP and tunnels have it. What follows a line's
    # first word alone (`key 1`) is told by the block that it is in.
    r"^(?!\s*(?:s?ntp|lacp)\b).*\S (?<!crypto )(?<!tunnel )key (?P<secret>\d+)\s*\Z",
    r"\bencryption (?:vlan \d+ )?key \d+ size \S+(?: [0-9](?= \S))?+ <S>",
    _then(r"\bcrypto key (?:im|ex)port") + r"\bterminal(?: (?:3des|des))?+ <S>",
    r"(?<![\w-])(?:[\w-]+-)?(?:psk|pmk|nthash)(?! set-key\b)<K> <S>",
    r"\bipsec spi \d+(?: esp)?+ (?:null|md5|sha1|(?:3des|des|aes)\S*)(?: (?:128|192|256)(?= \S))?+"
    r"(?: passphrase)?+(?: [0-9](?= \S))?+ (?!(?:md5|sha1) )<S>",
    _then(r"\bipsec spi \d+ esp") + r"\b(?:md5|sha1)(?: passphrase)?+(?: [0-9](?= \S))?+ <S>",
    r"\bauthentication mode hmac-sha-256<K> <S>",
    _then(r"(?<![\w-])(?:standby|vrrp|glbp)")
    + r"\bauthentication(?! (?:md5 key-|key-chain))<K> <S>",
    r"\bnhrp authentication<K> <S>",
    r"\btcp[ -]md5(?:-auth|-key| password)?+<K> <S>",
    r"^\s*event manager environment (?=\S*(?i:pass|pw|secret|token|key|psk|cred|community))\S+ <R>",
    r'\bmail server "?[^\s:"]+:(?P<secret>[^\s@"<]+)@',
    r"^\s*pin(?: [0-9](?= \S))?+ <S>",
    r"-(?:ingest|cv)auth=key,(?P<secret>[^\s,<]+)",
    r"^\s*option (?=\S*(?i:pass|pw|secret|token|key|psk|cred))\S+ value <R>",
    r"^\s*lte sim authenticate<K> <S>",
    _CRYPT,
)
CISCO: Final = _all(*_CISCO)
# Of digits only, alone on its line: a secret in the blocks of servers and groups, a number in those
# of key chains. Elsewhere nobody has numbers of so many digits.
CISCO_KEYS: Final = Keys(
    line=re.compile(r"\s*key[ \t]+(?P<secret>\d+)\s*\Z"),
    secret=re.compile(
        r"\s*(?:(?:radius|tacacs)[ \t]+server|aaa[ \t]+(?:group[ \t]+)?server|server(?:-private)?"
        r"|client|crypto[ \t]+(?:isakmp|gdoi|ikev2)|group)\b"
    ),
    number=re.compile(r"\s*key[ \t]+chain\b"),
    least=5,
)
JUNOS: Final = _all(
    r"(?<=\s)<S>;?[ \t]*## SECRET-DATA",
    r'^(?!.*\[ (?:[^\]"\[]|\[(?! ))*+\];?\s*\Z).*(?<![\w-])'
    r"(?:[\w-]+-)?(?:password|passphrase|secret|password-value|privacy-key|cak)"
    r"(?! (?:minimum|maximum|change|format)-\S)<K> <S>",
    r"(?<![\w-])(?:[\w-]+-)?authentication-key <S>(?! type\b)",
    r"(?<![\w-])authentication-key \d+ type \S+ value <S>",
    r"(?<![\w-])(?:pre-shared-key )?(?:ascii-text|hexadecimal) <S>",
    r"(?<![\w-])(?:md5 \d+ key|(?:authentication|encryption) (?:\S+ )?key|license keys key"
    r"|community-name) (?!ascii-text|hexadecimal)<S>",
    r"^\s*(?:(?:inactive|protect|replace): )*community <S>(?= \{|;|\Z)",
    r"^\s*(?:set|delete|(?:de)?activate|(?:un)?protect) (?:\S+ )*snmp community <S>",
    r"(?<![\w-])auth-token <S>",
    # In the block of its number.
    r'^\s*key (?P<secret>"(?!<secret)(?:[^"\\]|\\.)+");',
    r"://[^\s/:@\"]+:(?P<secret>[^\s/@\"<]+)@",
    _CRYPT,
    word=_WORD_OF_BRACES,
)
VYOS: Final = _all(
    r"(?<![\w-])(?:(?:[\w-]+-)?(?:password|passphrase|secret|token|psk)|preshared-key|private-key"
    r"|private key|auth-key|md5-key|plaintext-key|encrypted-key|cak|pin|puk) <S>[ \t]*\Z",
    # With a node of it behind, or as `show configuration` writes it.
    rf"^\s*(?:(?:set|delete) service snmp )?community (?!{_HIDDEN})"
    r"(?P<secret>['\"](?s:.)*['\"]|[^\s'\"]\S*)"
    r"(?=(?: (?:authorization|client|network) \S+| \{)[ \t]*\Z)",
    # Not the communities of BGP.
    r"^(?!\s*(?:set|delete) policy )(?:.*(?<![\w-]))?community <S>[ \t]*\Z",
    r"\b(?:area|domain)-password (?:md5|plaintext-password) <S>",
    r"^(?!.* (?:public-keys|public key) )(?!.* parameters ip key ).*(?<![\w-])key <S>[ \t]*\Z",
    r"^\s*set service snmp community <S>",
    r"\bmd5 key-id \d+ md5-key <S>",
    r"\bprotocols isis interface \S+ password (?:md5|plaintext-password) <S>",
    r"\bnhrp tunnel \S+ (?:cisco-)?authentication <S>",
    r"^\s*set container .* environment (?=\S*(?i:pass|pw|secret|token|key|psk|cred))\S+ value <S>",
    _CRYPT,
    word=_WORD_OF_SET,
)
# What a name says that tells whether something is done with a secret; its value says no more.
_UCI_SWITCH: Final = (
    r"(?!['\"]?(?i:(?:allow|always|ask|auth|change|check|disable|enable|has|have|need|no|persist"
    r"|random|remember|reneg|require|reset|save|show|store|use)_\w+|nopass\w*)['\"]?(?:[ \t]+|=)"
    r"['\"]?(?i:[01]|on|off|yes|no|true|false|enabled?|disabled?)['\"]?\s*\Z)"
)
_UCI_NAME: Final = (
    rf"{_UCI_SWITCH}"
    r"(?!\w*(?:public|host)_?key|\w*(?:by|com)pass\b|\w*(?:gpio|led|reset)_?pin\b)(?i:\w*passw(?:or)?d_?\d?|\w*pass_?\d?|\w*_key|\w*passphrase"
    r"|\w*secret|\w*token|(?:\w*_|sim)?pin|pin_?code|puk|puk_?code|\w*psk\d?|(?:\w*_|auth)?pw\d?"
    r"|\w*pwd\d?|\w*community|\w*credentials?|bearer|password_hash|key\dstr\d"
    r"|\w*(?:api|auth|private|priv|shared|secret|access|encryption|enc|wpa|network)_?key"
    r"|wep_?key\d?|param_enc)['\"]?"
)
_UCI_KEY: Final = r"key\d?['\"]?(?:[ \t]+|=)(?!['\"]?[1-4]['\"]?\s*\Z)"
# The file with a key, or the number of one, is none.
_NO_FILE: Final = r"(?!['\"]?/(?:etc|tmp|var|root|usr|mnt)/\S+?['\"]?\s*\Z)"
OPENWRT: Final = _all(
    rf"^\s*(?:option|list) ['\"]?{_UCI_NAME}[ \t]+{_NO_FILE}<R>",
    rf"^\s*(?:option|list) ['\"]?{_UCI_KEY}{_NO_FILE}<R>",
    r"^\s*(?:option|list) ['\"]?r[01]kh['\"]?[ \t]+['\"]?[^\s,'\"]+[ ,][^\s,'\"]+[ ,]"
    r"(?P<secret>[^\s,'\"<]+)",
    r"^\s*(?:option|list) ['\"]?(?i:(?:http|basic)_?auth)['\"]? (?=\S*:)<R>",
    # As `uci show` writes it.
    rf"^\s*[\w-]+\.[@\w\[\].-]+\.{_UCI_NAME}={_NO_FILE}<R>",
    rf"^\s*[\w-]+\.[@\w\[\].-]+\.{_UCI_KEY}{_NO_FILE}<R>",
    r"^\s*[\w-]+\.[@\w\[\].-]+\.(?i:(?:http|basic)_?auth)=(?=\S*:)<R>",
    _CRYPT,
)
# What a FortiGate encrypts, anew at each reading.
FORTIOS_SALTED: Final = re.compile(r"\bENC (?P<secret>[^\s<]\S*)")
FORTIOS: Final = _all(
    r"^\s*set (?:[\w-]*(?:password|passwd|passphrase|passcode|psksecret|secret|psk|-pwd|key-string|"
    r"-token|seed|keytab|key-hmac)|(?:snmp-|trap-)?community|psksecret-remote|(?:sim\d?-)?pin"
    r"|[\w-]*password-l\d"
    r"|(?!(?:[\w-]*-)?public-key)(?:[\w-]*-|auth|enc|api|wep)?key)\d*(?: \d+(?= \S))?+ "
    r"(?!ENC\b|\"-----BEGIN|(?:enable|disable)[ \t]*\Z)<R>",
    r"^\s*config snmp community <S>",
    _CRYPT,
)
FORTIOS_NAMES: Final = (
    (
        re.compile(r"\s*config[ \t]+(?:system[ \t]+snmp[ \t]+|\S+[ \t]+snmp-)community\b"),
        re.compile(rf"^\s*set[ \t]+name[ \t]+{_REST}"),
    ),
    (
        re.compile(r"\s*config[ \t]+http-headers\b"),
        re.compile(rf"^\s*set[ \t]+value[ \t]+{_REST}"),
    ),
)
FRR: Final = _all(
    r"\bauthentication string <R>",
    r"\bauthentication key-id \d+ hash-algo \S+ key <S>",
    r"\bip ospf message-digest-key \d+ md5 <S>",
    *_CISCO,
)
