"""Names that speak of secrets: `mailPassword`, `api-key`, `ddnspass`, but not `tokenCount`.

A name is taken apart into its words; it speaks of a secret by the words it has, unless its first or
last one says that the value is something about a secret and not the secret.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

# In a run of capitals the last one may begin a word (`APIKey`), or end one (`APIkey`): nobody can
# tell, so both are tried.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_WORD_OF_CAPITALS = re.compile(
    r"(?i:bypass|compass|surpass|trespass)(?![a-z])|[A-Z]{2,}|[A-Z]?[a-z]+|[A-Z]|[^\W\d_A-Za-z]+"
)
_CAPITALS = re.compile(r"[A-Z]{2}[a-z]")
# Anywhere in a name, run together with other words too.
_LOUD = re.compile(
    r"passw|passphrase|passcode|pswd|kennwort|wachtwoord|parola|contrase|senha|secret|token|tkn|"
    r"credential|apikey|psk\Z|pin-?code|preshared-?key|private-?key|shared-?key|auth-?key\Z"
)
_ALONE: Final = frozenset(
    (
        *("pass", "pwd", "pw", "psw", "pasw", "psk", "puk", "cpin"),
        *("authorization", "cookie", "mdp"),
        *("passe", "clave", "heslo", "haslo", "lozinka", "sifre", "salasana", "losenord"),
    )
)
# Run together, as in ddnspass, makerkey and simpin; not bypass, but companypass; not monkey.
_RUN_TOGETHER = re.compile(
    r"(?:(?!(?:by|com|encom|sur|tres|over|under)pass\Z)[a-z]{2,}(?:pass|pwd|psw)"
    r"|(?:app|bot|client|ddns|ifttt|maker|master|session|ssh|user|vpn|webhook|wep|wifi|wpa)key"
    r"|(?:card|lte|modem|sim|sms|wps)pin)\Z"
)
_KEYS: Final = """
access ah api app auth authentication bot cf client ddns enc encryption hmac ifttt integrity isakmp
ldap license lns maker master md md5 network ntp preshared private psk radius secret security server
session shared sign signing sta static tacacs tls tsig user vpn webhook wep wifi wlan wpa
"""
# What a key must be of to be a secret.
_SECRET_KEYS: Final = frozenset(_KEYS.split())
_COMMUNITIES: Final = frozenset(("snmp", "trap", "read", "write", "ro", "rw"))
# Keys of SSH are mostly secret, but these.
_SSH_PUBLIC: Final = frozenset(("public", "pub", "host", "known", "authorized", "foreign"))
# Pins of chips are none.
_OTHER_PINS: Final = frozenset(("gpio", "led", "port", "input", "output", "reset", "io", "chip"))
_FIRST: Final = """
allow always check disable enable forgot has is max maximum min minimum need no num number public
require show use valid without
"""
_LAST: Final = """
age algorithm algorithms attempts authentication bucket chain changed check count counter date days
empty enabled encoding encryption endpoint error exchange expiration expired expires expiry field
file format found group header history index interval label len length level lifetime limit login
max menu method min missing mode name names needed ok path policy prompt rate refresh required
retries ring rotation server service set size source state status storage strength style tag
through throughput time timeout timestamp ttl type types unit uri url user username valid validity
version
"""
# Names that begin or end so tell something about a secret.
_ABOUT_FIRST: Final = frozenset(_FIRST.split())
_ABOUT_LAST: Final = frozenset(_LAST.split())
# Every name that speaks of a secret has one of these in it.
STEMS: Final = (
    r"pass|psw|pswd|pwd|pw|pasw|kennwort|wachtwoord|parola|contrase|senha|clave|heslo|haslo|lozinka|"
    r"sifre|salasana|losenord|secret|token|tkn|credential|key|psk|puk|pin(?:[^a-z]|code|\z)|cpin|"
    r"authorization|cookie|mdp|community"
)
# Behind names that end so, with a blank or a sign between, a value that looks like a key is one.
_KEY_NAMES: Final = """
auth code key keys pass passphrase passwd password psk pwd secret seed signature token
"""
KEY_NAMES: Final = frozenset(_KEY_NAMES.split())
_PUBLIC: Final = frozenset(("public", "pub", "ssh", "host", "foreign", "known", "thread"))
# No name of anything is longer.
_LONGEST: Final = 64
# Values that are none, whatever they are assigned to.
NO_SECRETS: Final = frozenset(
    (
        *("yes", "no", "none", "true", "false", "required"),
        *("nil", "nothing", "null", "disabled", "same-as-user"),
    )
)


def speaks(name: str) -> bool:
    """Whether a name is one of a secret."""
    # Longer ones are not even remembered: a text may have thousands, each as long as a line.
    return len(name) <= _LONGEST and _speaks(name)


def hints(name: str) -> bool:
    """Whether a name may be one of a secret: what stands behind it is, if it looks like a key."""
    return len(name) <= _LONGEST and _hints(name)


@lru_cache(maxsize=4096)
def _speaks(name: str) -> bool:
    ways = _ways(name)
    # By chance a name begins as one in one of its ways (`HASecret`), but ends so in none.
    if any(words[-1] in _ABOUT_LAST for words in ways):
        return False
    return any(map(_is_of_secret, ways))


@lru_cache(maxsize=4096)
def _hints(name: str) -> bool:
    return any(words[-1] in KEY_NAMES and _PUBLIC.isdisjoint(words) for words in _ways(name))


def _ways(name: str) -> list[list[str]]:
    """The words of a name, in each way that it can be taken apart; no way has no words."""
    by = (_WORD, _WORD_OF_CAPITALS) if _CAPITALS.search(name) else (_WORD,)
    found = ([word.lower() for word in one.findall(name)] for one in by)
    return [words for words in found if words]


def _is_of_secret(words: list[str]) -> bool:
    if len(words) > 1 and words[0] in _ABOUT_FIRST:
        return False
    last = words[-1]
    if _LOUD.search("-".join(words)) or not _ALONE.isdisjoint(words) or _RUN_TOGETHER.match(last):
        return True
    before = words[:-1]
    if last == "key" or last == "keys":
        if not _SECRET_KEYS.isdisjoint(before):
            return True
        # Several of SSH alone are whom a user or a device trusts.
        return last == "key" and "ssh" in before and _SSH_PUBLIC.isdisjoint(before)
    if last == "pin":
        return _OTHER_PINS.isdisjoint(before)
    return last == "community" and (not before or not _COMMUNITIES.isdisjoint(before))
