"""A place among the tokens of a text, and what stands around it."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import Final

from domain.redaction.tokens import Token, partners
from domain.routeros.menus import split_path

_SEPARATES: Final = frozenset("=:~!>")
# A menu has six words at most; tokens, with the blanks between.
_LONGEST_PATH: Final = 16
_DECLARES: Final = frozenset(("local", "global", "set"))


class Tokens:
    """The tokens of a text by index, with the questions that are asked of them."""

    def __init__(self, text: str, found: list[Token]) -> None:
        self.text = text
        self.all = found

    @cached_property
    def partners(self) -> dict[int, int]:
        """For each opening bracket the one that closes it; few texts are asked for it."""
        return partners(self.all)

    def text_at(self, at: int) -> str:
        """What a token says; what no token says where there is none."""
        return self.all[at].text if 0 <= at < len(self.all) else "\0"

    def peek(self, at: int) -> Token | None:
        """The token, if there is one."""
        return self.all[at] if at < len(self.all) else None

    def skip(self, at: int, *, over_ends: bool = False) -> int:
        """The index of the first token from one on that is not blank."""
        while at < len(self.all) and (
            self.all[at].kind == "blank" or (over_ends and self.all[at].kind == "end")
        ):
            at += 1
        return at

    def before(self, at: int) -> str:
        """What the two tokens before one say."""
        return self.text_at(at - 2) + self.text_at(at - 1) if at > 1 else ""

    def behind(self, place: int) -> int:
        """The index of the first token that begins at a place of the text or behind it."""
        return bisect_left(self.all, place, key=lambda token: token.start)

    def declared(self, at: int, *, unmarked: bool) -> bool:
        """Whether a name stands behind `:local`, `:global` or `:set`, or without the colon where
        `unmarked` words are commands too."""
        back = at - 1
        if back < 1 or self.all[back].kind != "blank":
            return False
        word = self.all[back - 1]
        if word.text not in _DECLARES:
            return False
        return self.text_at(back - 2) == ":" or (unmarked and word.opens)

    def is_option(self, at: int) -> bool:
        """Whether a name is one of a program's: `--token`."""
        return self.before(at) == "--"

    def is_path_word(self, at: int) -> bool:
        """Whether a name is part of a menu's path: `secret` of `/ppp secret "x"`."""
        back = at - 1
        least = at - _LONGEST_PATH
        while back >= max(0, least) and self.all[back].kind in ("name", "blank"):
            back -= 1
        if back < 0 or self.text_at(back) != "/":
            return False
        path = self.text[self.all[back].start : self.all[at].end]
        split = split_path(path)
        return split is not None and not split[1]

    def is_tag(self, at: int, after: int) -> bool:
        """Whether a name is the tag of an element: `<password>`."""
        return self.text_at(at - 1) == "<" and self.text_at(after) == ">"

    def separator(self, at: int) -> int | None:
        """The index behind `=`, `:`, `~`, `!=`, `=>` at a token; None without one."""
        token = self.peek(at)
        if token is None or token.kind != "other" or token.text not in "=:~!":
            return None
        end = at + 1
        while self.text_at(end) in _SEPARATES and self.text_at(end) != ":":
            end += 1
        return end
