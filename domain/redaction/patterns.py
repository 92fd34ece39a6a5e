"""Secrets that stand where no name says so: in addresses, headers, keys, tokens of known form.

Each form is given with what any text that has it must have in it, for RE2 and in any case of
letters: so nearly all text is passed over, and what a text has elsewhere changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import re2  # type: ignore[import-untyped]

from domain.redaction import material

Finder: TypeAlias = Callable[[str], Iterator[tuple[int, int]]]

_HEADER: Final = r"\b(?:proxy-)?(?:authorization|set-cookie|cookie)[ \t]*[:=][ \t]*"
_NEXT_HEADER: Final = r"[ \t]*+[a-z0-9-]{1,64}:"
_SCHEME: Final = r"(?:[a-z][a-z0-9_-]{0,31}[ \t]+(?=[^\s,]))?+"
_PARAMETERS: Final = r"(?:key|sig|signature|auth|pw|code|hmac|app_?id|hash)"
# A word of a shell's command, without its quotes.
_SHELL_WORD: Final = r"""(?:'(?=[^'\r\n]*'))?(?P<secret>(?<=')[^'\r\n]+|[^\s'";\\]+)"""
_SHELL: Final = r"\b[^\r\n;|]{0,400}?[ \t]"
# What keys begin with (PEM, PGP, OpenVPN).
KEY_LABEL: Final = r"(?:[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V\d)"
_FORMS: Final = (
    # scheme://user:x@host
    (
        r'://[^\s/:@"]{0,512}:(?:["\\]|\z|[^\s"]+@)',
        r'://[^\s/:@"]{0,256}:(?P<secret>[^\s"]{1,256})@(?=[A-Za-z0-9.$\ufdd0\[-]+(?:[:/?"\\\s\',;)>]|\Z))',
    ),
    # …?key=x
    (rf"[?&]{_PARAMETERS}=", rf'[?&]{_PARAMETERS}=(?P<secret>[^\s&"\\;]+)'),
    ("[?&]api_?id=", r'[?&]api_?id=(?P<secret>[^\s&"\\;]{8,})'),
    # Authorization: Scheme x; up to the next header, without the blanks before that.
    (
        "authorization|cookie",
        _HEADER + _SCHEME + r"(?P<secret>(?![a-z][\w-]*[ \t]+\Z)"
        rf'[^\s"](?:[^\r\n", \t]|,(?!{_NEXT_HEADER})'
        rf'|[ \t]++(?!,{_NEXT_HEADER}|["\r\n]|\Z))*+)',
    ),
    ("bearer", r"\bbearer[ \t]+(?P<secret>[A-Za-z0-9+/=._~-]{16,})"),
    # Addresses that let in whoever knows them: bots, webhooks, dynamic names, watchdogs.
    ("/bot", r"/bot(?P<secret>[0-9]{5,}:[A-Za-z0-9_-]{10,})"),
    ("/api/webhooks/", r"/api/webhooks/[0-9]+/(?P<secret>[\w-]{10,})"),
    (r"hooks\.slack", r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[\w/-]{10,})"),
    ("webhookb2", r'/webhookb2/(?P<secret>[^\s"?\\]{10,})'),
    ("/with/key/", r"/with/key/(?P<secret>[\w-]{6,})"),
    (r"update\.php", r"\bupdate\.php\\?\?(?P<secret>[\w-]{12,}={0,2})(?=[&\s\"\\';]|\Z)"),
    (r"afraid\.org", r"afraid\.org/u/(?P<secret>[\w-]{6,})"),
    (r"hc-ping\.com", r"hc-ping\.com/(?P<secret>[\w/-]{10,})"),
    # Commands of a shell.
    ("sshpass", rf"\bsshpass{_SHELL}(?-i:-p)[ \t]*{_SHELL_WORD}"),
    (
        "curl|wget",
        rf"\b(?:curl|wget){_SHELL}(?:-u|--user|--proxy-user)[ \t=]{{0,64}}+['\"]?"
        r"[^\s:'\"]{0,256}+:"
        r"(?P<secret>[^\s'\"]+)",
    ),
    ("mysql", rf"\bmysql\w*{_SHELL}(?-i:-p)(?P<secret>[^\s'\"]+)"),
    *(("snmp", rf"\bsnmp[a-z]+{_SHELL}(?-i:-{option})[ \t]*{_SHELL_WORD}") for option in "cAX"),
    # Tokens that are known by their form.
    (
        "gh[pousr]_|github_pat|glpat|xox",
        r"\b(?P<secret>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
        r"|xox[abeprs]-[\w-]{10,})",
    ),
    # A token in three parts (JWT). What comes behind is asked once, not at each place in the first.
    (
        r"eyJ[\w-]{10,}\.eyJ",
        r"(?<![\w-])(?=[\w-]++\.eyJ[\w-]{5,}\.[\w-]{5,})[\w-]*?"
        r"\b(?P<secret>eyJ[\w-]{10,}\.eyJ[\w-]{5,}\.[\w-]{5,})",
    ),
    (
        r"[0-9]{6}:[a-z0-9_-]{30}",
        r"(?<![\w:])(?P<secret>[0-9]{6,12}:[A-Za-z0-9_-]{30,64})(?![\w:])",
    ),
    (
        r"(?:akia|asia)[0-9a-z]{16}|aiza[\w-]{30}|sg\.[\w-]{16}|ya29\.",
        r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}"
        r"|ya29\.[\w-]{20,})",
    ),
    (
        r"[sr]k_(?:live|test)_|dop_v1_|hf_[a-z0-9]{20}|npm_[a-z0-9]{20}|sk-[a-z0-9_-]{20}|xkeysib",
        r"\b(?P<secret>[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|dop_v1_[0-9a-f]{32,}|hf_[A-Za-z0-9]{20,}"
        r"|npm_[A-Za-z0-9]{20,}|sk-[\w-]{20,}|xkeysib-[\w-]{20,})",
    ),
    (
        "-----BEGIN",
        rf"-----BEGIN {KEY_LABEL}-----(?P<secret>.*?)(?:-----END|\Z)",
    ),
)
# Only a variable: what is secret is elsewhere.
_VARIABLES = re.compile(r"(?:\$[\w.]+|[\s:])+\Z")
# Text that ends where a secret has to follow.
_EXPECTS: Final = re.compile(
    rf'(?:://[^\s/:@"]{{0,256}}:|[?&]{_PARAMETERS}=|/bot|\bbearer[ \t]+|'
    r"\+c(?:pin|pwd|lck)=[^\r\n;]{0,64}|" + _HEADER + r"(?:[a-z][a-z0-9_-]{0,31}[ \t]+)?)\Z",
    re.IGNORECASE,
)


def _finder(pattern: str) -> Finder:
    compiled = re.compile(pattern, re.DOTALL | re.IGNORECASE)

    def find(text: str) -> Iterator[tuple[int, int]]:
        return (found.span("secret") for found in compiled.finditer(text))

    return find


_FINDERS: Final = (
    *((needed, _finder(pattern)) for needed, pattern in _FORMS),
    (material.STEMS, material.behind_names),
)
# What one of them needs, or what is at the end of a text where a secret has to follow.
STEMS: Final = "|".join(needed for needed, _ in _FINDERS)


def _needs() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    found = re2.Set.SearchSet(options)
    for needed, _ in _FINDERS:
        found.Add(needed)
    found.Compile()
    return found


_NEEDS: Final = _needs()


def unnamed(text: str) -> Iterator[tuple[int, int]]:
    """Where such secrets stand in a text."""
    for number in _NEEDS.Match(text.encode("utf-8", "surrogatepass")) or ():
        for start, end in _FINDERS[number][1](text):
            if not _VARIABLES.match(text, start, end):
                yield start, end


def expects_secret(text: str) -> bool:
    """Whether a text ends so that what is put behind it is a secret."""
    return _EXPECTS.search(text[-400:]) is not None
