"""What looks like a key: too mixed for a word, a name, an address or a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from domain.redaction.names import KEY_NAMES, hints

# Names that may speak of a secret, and what stands behind them, with or without a sign between.
# The value is only looked at, so that it may be the name of the next one; nothing that separates is
# in it, so that this takes linear time.
_ENDS: Final = "|".join(f"(?<={word})" for word in sorted(KEY_NAMES))
_BEHIND: Final = re.compile(
    rf"(?<![\w$<-])(?<!public )(?P<name>[\w-]++)(?:{_ENDS})"
    r"(?:[ \t]*+[=:][ \t]*+[\"']?|[ \t]++[\"']?)"
    r"(?=(?P<secret>[A-Za-z0-9+/_.!@%^*~-]{8,}+={0,2})(?![\w$]|[ \t]+(?:\d[ \t]+)?<secret))",
    re.IGNORECASE,
)
_RUNS: Final = re.compile(r"[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9]+")
_HEX: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{16,}\Z")
# What is mixed by nature: addresses, paths, files, names with numbers, algorithms, times.
_PLAIN: Final = re.compile(
    r"[\d.:/]+\Z|(?:[0-9A-Fa-f]{2}[:.-]){5}[0-9A-Fa-f]{2}\Z|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,}"
    r"|/|\w+://|AAAA[BCE]|[A-Za-z][\w.-]*=[^=]|[A-Za-z_.-]+\d{0,6}\Z|\d+[A-Za-z]+\Z|(?:\d+[wdhms])+\Z"
    r"|.*\.(?:pem|crt|cer|key|rsc|txt|cfg|com|net|org|io|de)\Z",
)
_ALGORITHM: Final = re.compile(
    r"aes|sha|md5|hmac|rsa|ecd|dsa|dh-|diffie|curve|nistp|ed25519|chacha|umac|des-|gcm|cbc|group"
    r"|ether|vlan|eth|ge-|xe-|et-|gigabit|tengig|self-signed",
    re.IGNORECASE,
)
_LEAST_RUNS: Final = 4
# What any such name has in it.
STEMS: Final = r"key|psk|token|secret|pass|pwd|auth(?:[^a-z]|\z)|code(?:[^a-z]|\z)|seed|signature"


def is_material(value: str) -> bool:
    """Whether a value looks like a key."""
    if len(value) < 8 or _PLAIN.match(value) or _ALGORITHM.search(value):
        return False
    if not any(char.isdigit() for char in value) or not any(char.isalpha() for char in value):
        return False
    return _HEX.match(value) is not None or len(_RUNS.findall(value)) >= _LEAST_RUNS


def behind_names(text: str) -> Iterator[tuple[int, int]]:
    """Where in a text a value stands that looks like a key, behind a name that may be one's."""
    for found in _BEHIND.finditer(text):
        value = found["secret"].rstrip(".,:")
        if is_material(value) and hints(found["name"]):
            start = found.start("secret")
            yield start, start + len(value)
