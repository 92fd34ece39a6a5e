r"""Values as RouterOS writes them: quotes, escapes, members of sets.

Escapes: `\"` `\\` `\$` `\?`, `\_` (a blank), `\n` `\r` `\t` `\a` `\b` `\f` `\v`, and `\XX`, a byte
in upper-case hex.
"""

from __future__ import annotations

import re
from typing import Final

STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ESCAPE = re.compile(r"\\([0-9A-F]{2}|.)", re.DOTALL)
_NAMED: Final = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "_": " ",
}
_BARE = re.compile(r"[A-Za-z0-9*!<>./:@,_+-]+\Z")
_CONTROL = re.compile(r'["\\$\x00-\x1f\x7f]')
_CODES: Final = {char: name for name, char in _NAMED.items() if name != "_"}


def plain(value: str) -> str:
    """What a written value means: without quotes and escapes.

    Bytes above 127 that are written in hex come out as the characters that they are in UTF-8, and
    as lone surrogates where they are none: different values stay different.
    """
    if '"' not in value and "\\" not in value:
        return value
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        value = value[1:-1]
    if "\\" not in value:
        return value
    return joined(_ESCAPE.sub(meant, value))


def joined(text: str) -> str:
    """The text with bytes that stand apart as the characters that they are together in UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def meant(found: re.Match[str]) -> str:
    """What an escape means; a byte above 127 stands alone, as a lone surrogate."""
    code = found[1]
    if len(code) == 2:
        number = int(code, 16)
        return chr(number) if number < 0x80 else chr(0xDC00 + number)
    return _NAMED.get(code, code)


def written(text: str) -> str:
    """A value as RouterOS may write it. `plain` of it is `text` again."""
    if _BARE.match(text):
        return text
    return '"' + _CONTROL.sub(_escaped, printable(text)) + '"'


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char in '"\\$':
        return "\\" + char
    return f"\\{_CODES[char]}" if char in _CODES else f"\\{ord(char):02X}"


def printable(text: str) -> str:
    """The text with characters that stand for broken bytes replaced, so that it is Unicode."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def members(value: str) -> tuple[str, ...]:
    """The members of a set-valued property, sorted."""
    return tuple(sorted(plain(value).split(",")))
