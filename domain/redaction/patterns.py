"""Secrets that stand where no name says so: in addresses, headers, keys, tokens of known form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_HEADER: Final = r"\b(?:proxy-)?(?:authorization|set-cookie|cookie)[ \t]*[:=][ \t]*"
_SCHEME: Final = r"(?:[a-z][a-z0-9_-]{0,31}[ \t]+(?=[^\s,]))?+"
_ALL: Final = tuple(
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        # scheme://user:x@host
        r'://[^\s/:@"]{0,256}:(?P<secret>[^\s"]{1,256})@(?=[A-Za-z0-9.$\[-]+(?:[:/?"\\\s]|\Z))',
        # …?key=x
        r'[?&](?:key|sig|signature|auth|pw|code|hmac)=(?P<secret>[^\s&"\\;]+)',
        # Authorization: Scheme x; up to the next header.
        _HEADER + _SCHEME + r"(?P<secret>(?![a-z][\w-]*[ \t]+\Z)"
        r'[^\s"][^\r\n"]*?)[ \t]*(?=,[ \t]*[a-z0-9-]{1,64}:|["\r\n]|\Z)',
        r"\bbearer[ \t]+(?P<secret>[A-Za-z0-9+/=._~-]{16,})",
        # Addresses that let in whoever knows them: Telegram's bots, webhooks of chats.
        r"/bot(?P<secret>[0-9]{5,}:[A-Za-z0-9_-]{10,})",
        r"/api/webhooks/[0-9]+/(?P<secret>[\w-]{10,})",
        r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[\w/-]{10,})",
        # Tokens that are known by their form.
        r"\b(?P<secret>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
        r"|xox[abeprs]-[\w-]{10,}|eyJ[\w-]{10,}\.eyJ[\w-]{5,}\.[\w-]{5,})",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?P<secret>.*?)(?:-----END|\Z)",
    )
)
# Only a variable: what is secret is elsewhere.
_VARIABLES = re.compile(r"(?:\$[\w.]+|[\s:])+\Z")
# Text that ends where a secret has to follow.
_EXPECTS: Final = re.compile(
    r'(?:://[^\s/:@"]{0,256}:|[?&](?:key|sig|signature|auth|pw|code)=|/bot|\bbearer[ \t]+|'
    + _HEADER
    + r"(?:[a-z][a-z0-9_-]{0,31}[ \t]+)?)\Z",
    re.IGNORECASE,
)
# Nearly all text has none of these, and is not searched further.
TRIGGER = re.compile(
    r"pass|pwd|pw|cak|zerotier|envs|secret|token|key|psk|pin|puk|senha|kennwort|parola|"
    r"contrase|credential|mdp|"
    r"community|://|authorization|cookie|bearer|/bot|hooks|gh[pousr]_|github_pat|glpat|xox|eyJ|"
    r"[?&](?:sig|auth|pw|code|hmac)|-----BEGIN",
    re.IGNORECASE,
)


def unnamed(text: str) -> Iterator[tuple[int, int]]:
    """Where such secrets stand in a text."""
    for pattern in _ALL:
        for found in pattern.finditer(text):
            if not _VARIABLES.match(found["secret"]):
                yield found.span("secret")


def expects_secret(text: str) -> bool:
    """Whether a text ends so that what is put behind it is a secret."""
    return _EXPECTS.search(text[-400:]) is not None
