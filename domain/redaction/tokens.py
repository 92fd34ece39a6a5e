r"""Scripts of RouterOS, and whatever else looks like it, as tokens.

No text is refused: a quote that nothing closes is a token of its own. Takes linear time.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from domain.routeros.strings import STRING

Kind: TypeAlias = Literal["string", "name", "blank", "end", "variable", "comment", "shown", "other"]
_TOKEN: Final = re.compile(
    rf"(?P<string>{STRING})"
    r"|(?P<name>\w++(?:-++\w++)*+)"
    r"|(?P<blank>(?:[ \t]|\\\r?\n)++)"
    r"|(?P<end>[\r\n;]++)"
    r"|(?P<variable>\$(?!\")\w*)"
    r"|(?P<shown><(?:secret|hidden):[0-9a-f]{8}>)"
    r"|(?P<other>\\++.?|.)",
    re.DOTALL,
)
_COMMENT = re.compile(r"#[^\r\n]*")
_OPENS: Final = "([{"
_CLOSES: Final = ")]}"


class Token(Struct, frozen=True):
    """A piece of a text. `opens` says that a statement may begin here."""

    kind: Kind
    text: str
    start: int
    end: int
    opens: bool


def tokens(text: str) -> list[Token]:
    """The text in pieces, nothing left out."""
    found: list[Token] = []
    at = 0
    opens = True
    while at < len(text):
        comment = _COMMENT.match(text, at) if opens else None
        match = comment or _TOKEN.match(text, at)
        if match is None:
            raise AssertionError(f"nothing at {at} of {len(text)} characters is a token")
        kind = "comment" if comment else match.lastgroup
        token = Token(kind, match[0], at, match.end(), opens)  # type: ignore[arg-type]
        found.append(token)
        at = token.end
        opens = token.kind in ("end", "comment") or (
            token.text in _OPENS if token.kind == "other" else opens and token.kind == "blank"
        )
    return found


def partners(found: list[Token]) -> dict[int, int]:
    """For each opening bracket, by index, the index of the one that closes it."""
    pairs: dict[int, int] = {}
    waiting: list[int] = []
    for at, token in enumerate(found):
        if token.kind != "other":
            continue
        if token.text in _OPENS:
            waiting.append(at)
        elif token.text in _CLOSES and waiting:
            wanted = _OPENS[_CLOSES.index(token.text)]
            if found[waiting[-1]].text == wanted:
                pairs[waiting.pop()] = at
    return pairs
