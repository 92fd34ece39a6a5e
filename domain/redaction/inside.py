r"""Secrets inside of other text: scripts, addresses with a password, headers, comments.

Found are assignments to names that speak of secrets (`password=x`, `:local token "x"`,
`"api_key": "x"`), passwords and tokens in URLs, authorization headers, and private keys. Text is
taken as it is written, quotes and escapes of any depth included: `\"` opens what `\"` closes.
Takes time linear in the text's length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_WORDS: Final = (
    r"password|passwd|passphrase|passwort|senha|secret|token|api[-_]?key|psk|pre-?shared-?key|"
    r"private-?key|shared-?key|auth-?key|authentication-?key|md5-?key|encryption-?key|"
    r"access-?key|credential"
)
_SPEAKS = re.compile(
    rf"(?i:{_WORDS})|(?:(?:\A|[-_])(?i:pass|pwd)|[a-z](?:Pass|Pwd|PASS|PWD|Pin))(?=[-_0-9A-Z]|\Z)"
    # Run together, as in ddnspass; not bypass, compass, surpass.
    r"|(?:\A|[-_])(?!by|com|sur|tres|over|under)[a-z]{2,16}(?:pass|pwd)\Z"
    r"|(?i:(?:\A|snmp|trap|read|write|ro|rw)[-_]?community\Z)"
)
_NAMED = re.compile(
    r'(?<![A-Za-z0-9_<-])([A-Za-z0-9_-]{1,64})(?:(?:\\*+")?[ ]?[=:][ ]?|[ ]+(?=\\*+"))'
)
_VARIABLE = re.compile(r":(?:local|global|set)[ ]+([A-Za-z0-9_-]{1,64})[ ]+")
# What a quote of some depth opens, the same one closes; without one nearby, all of that is hidden.
_VALUE = re.compile(
    r'(?P<quote>\\*+")(?:(?P<quoted>.{0,4096}?)(?<!\\)(?P=quote)|(?P<open>.{1,4096}))'
    r'|(?P<bare>(?:[^\s"\\;&<>(){}\[\]$,]|\\[^rnt"_$])(?:[^\s"\\;&<>(){}\[\]]|\\[^rnt"_])*+)',
    re.DOTALL,
)
_NO_SECRETS: Final = frozenset(("yes", "no", "none", "true", "false", "required"))
_OTHERS: Final = tuple(
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        # scheme://user:x@host
        r'://[^\s/:@"]{0,256}:(?P<secret>[^\s"]{1,256})@(?=[A-Za-z0-9.\[-]+(?:[:/?"\\\s]|\Z))',
        # …?key=x
        r'[?&](?:key|sig|signature|auth|pw)=(?P<secret>[^\s&"\\;]+)',
        # Authorization: Bearer x
        r'authorization["\\]*\s?[:=]\s?["\\]*(?:(?:bearer|basic|token|digest)\s+)?+'
        r"(?P<secret>[A-Za-z0-9+/=._~-]{4,})",
        r"\bbearer\s+(?P<secret>[A-Za-z0-9+/=._~-]{16,})",
        # Telegram's address of a bot
        r"/bot(?P<secret>[0-9]{5,}:[A-Za-z0-9_-]{10,})",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?P<secret>.*?)(?:-----END|\Z)",
    )
)
# Nearly all text has none of these, and is not searched further.
_TRIGGER = re.compile(
    rf"{_WORDS}|pass|pwd|community|://|authorization|bearer|/bot[0-9]|[?&](?:key|sig|auth|pw)|"
    "-----BEGIN",
    re.IGNORECASE,
)


def redact_inside(text: str, hide: Callable[[str], str]) -> str:
    """The text with `hide` of each secret in its place; everything else as it was."""
    if not _TRIGGER.search(text):
        return text
    for pattern in (_NAMED, _VARIABLE):
        text = _assigned(pattern, text, hide)
    for pattern in _OTHERS:
        text = pattern.sub(lambda found: _without(found, "secret", hide), text)
    return text


def _assigned(names: re.Pattern[str], text: str, hide: Callable[[str], str]) -> str:
    """The text without the values that are given to names that speak of secrets."""
    parts: list[str] = []
    done = 0
    for name in names.finditer(text):
        if name.start() < done or not _SPEAKS.search(name[1]):
            continue
        value = _VALUE.match(text, name.end())
        if value is None:
            continue
        group = next(key for key in ("quoted", "open", "bare") if value[key] is not None)
        if value[group] in _NO_SECRETS or re.match(r"\\*\$", value[group]):
            continue
        parts += (text[done : value.start()], _without(value, group, hide))
        done = value.end()
    return "".join(parts) + text[done:] if parts else text


def _without(found: re.Match[str], group: str, hide: Callable[[str], str]) -> str:
    """What was found, without the secret that is one of its groups."""
    start, end = (at - found.start() for at in found.span(group))
    return found[0][:start] + hide(found[group]) + found[0][end:]
