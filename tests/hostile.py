"""Texts that are made to be slow: what takes time by the square of a length takes minutes here."""

from __future__ import annotations

from typing import Final

SIZE: Final = 100_000
# So often repeated that the text has `SIZE` characters: what stands before, the piece, what after.
_REPEATED: Final = (
    *(("", one, "x") for one in ("a", "@", "#", "\\", '"', "'", "[", "{", " ", "\r", "\n", "\x85")),
    *(("", one, "x") for one in ("a@", "[a@", "a,", "a.", "/*", "'\\''", '\\"', "\r\r\n", "a\n")),
    *(("", one, "") for one in ("{\n", "}\n", "[ ", "\\\n    ", "config a\n", "edit a\n")),
    *(("set a ", one, "") for one in ("'  ", "\\", "ENC ", "[ find ", "a=", "a=b ", ".a=b ")),
    *((first, " #", "x") for first in ("a", "r1# show ", "x {")),
    ("", "banner motd ^\n", ""),
    ("banner motd ^\n", "^C ^", ""),
    ("", "macro name a\n", ""),
    ("", "EOF\n", ""),
    ("# ", "by RouterOS ", ""),
    ("", "-----BEGIN ENCRYPTED PRIVATE KEY-----", ""),
    ("/ip dns static\n", "add regexp=a\n", ""),
    ("/ip pool\nadd ports=", "1,", "\n"),
    ("/ip pool\nadd " + "a." * 25_000 + "b=1", " .c=1", "\n"),
    # A long line, and very many in it.
    ("x " * 25_000 + "{\n", " a\n", ""),
    ("config " + "x " * 25_000 + "\n", " set a\n", ""),
    ("package " + "x" * 50_000 + "\n", "option a\n", ""),
    ("x" * 50_000 + " {\n", " a\n", ""),
)


def texts() -> dict[str, str]:
    """The texts, by what they are made of."""
    found = {}
    for first, piece, last in _REPEATED:
        count = (SIZE - len(first) - len(last)) // len(piece)
        found[f"{first[:20]!r} {piece!r} {last!r}"] = first + piece * count + last
    found["deeper and deeper"] = "".join(" " * depth + "a {\n" for depth in range(600))
    found["one beginning"] = "".join(
        f"set interfaces ethernet {'x' * 400} {number}\n" for number in range(450)
    )
    return found


# What begins a place of a secret, or goes on one, without ever being one. Lines that are longer are
# hidden as a whole.
_LINE: Final = 20_000
_WORDS: Final = (
    *("x ", "  ", "x encrypted ", "encrypted ", "password ", "password\t", "secret 7 ", "key 7 "),
    *("key ab ", "md5 ", "snmp-server user ", "snmp-server user auth ", "snmp-server host 1 "),
    *("session-key ", "static-wep-key ", "ipsec spi 1 esp ", "standby ", "crypto key import "),
    *("pre-shared-key address ", "private key ", "parameters ip key ", "option key ", "ENC "),
    *("[ ", "[ [ [ ", "[ ; ", "://a:", "-a", "$1$", "hash a ", "a,", "community ", "'\\''", '" '),
)


def lines_of_secrets() -> dict[str, str]:
    """Lines, by what they are made of."""
    return {
        f"{first!r} {word!r}": first + word * (_LINE // len(word)) + "''"
        for first in ("", "password x ")
        for word in _WORDS
    }
