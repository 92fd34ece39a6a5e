r"""Scripts of RouterOS, and whatever else looks like it, as tokens.

No text is refused: a quote that nothing closes is a token of its own. Takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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


def tokens(text: str, start: int, end: int) -> Iterator[Token]:
    """A part of a text in pieces, nothing left out; it begins where a statement may."""
    at = start
    opens = True
    while at < end:
        for match in _TOKEN.finditer(text, at, end):
            kind, piece, begin, at = match.lastgroup, match[0], match.start(), match.end()
            if opens and piece == "#":
                comment = _COMMENT.match(text, begin, end)
                if comment is None:
                    raise AssertionError(f"no comment at {begin}")
                at = comment.end()
                yield Token("comment", comment[0], begin, at, True)
                break
            yield Token(kind, piece, begin, at, opens)  # type: ignore[arg-type]
            if kind == "other":
                opens = piece in _OPENS
            elif kind == "end":
                opens = True
            elif kind != "blank":
                opens = False


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
