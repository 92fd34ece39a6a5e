"""The values of names that speak of secrets: how far they go, and what of them is hidden."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from domain.redaction.cursor import Tokens
from domain.redaction.decoding import Decoded
from domain.redaction.names import NO_SECRETS
from domain.redaction.tokens import Token

_BARE = re.compile(
    r"(?:\\.|,(?![ \t]*[\w-]+(?:=|:[ \t])|[\"\s]|\Z)|&(?![\w.-]+=)|<(?!/)"
    r'|[^\s"\\;)\]},&<])++',
    re.DOTALL,
)
_OTHER_NAME = re.compile(r"[A-Za-z][\w.-]*=(?!=|\Z)")
_VARIABLES_ONLY = re.compile(r"(?:\$[\w]+|[\s.])+\Z")
_IN_QUOTES = re.compile(r"'([^'\r\n]{1,4096})'")
_HEADERS: Final = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))
_LEAST_DIGITS: Final = 4


class Span(Struct, frozen=True, order=True):
    """A secret in a text: from where to before where, and what it means."""

    start: int
    end: int
    meant: str


class Values:
    """Hides values of one text: notes in `found` where they stand."""

    def __init__(self, tokens: Tokens) -> None:
        self._at = tokens
        self.found: list[Span] = []

    def assigned(self, name: str, at: int, *, separated: bool) -> int | None:
        """Hide the value that begins at a token, and what is put together with it."""
        token = self._at.peek(at)
        if token is None:
            return None
        if token.kind != "string" and name.lower() in _HEADERS:
            return None
        after = self._value(at, token, separated=separated)
        if after is None:
            return None
        while (joined := self.joined(after)) is not None:
            after = joined
        return after

    def joined(self, at: int) -> int | None:
        """Hide what a dot puts behind a value."""
        dot = self._at.skip(at)
        if self._at.text_at(dot) != ".":
            return None
        part = self._at.skip(dot + 1)
        token = self._at.peek(part)
        if token is None or (token.kind not in ("string", "variable") and token.text not in "(["):
            return None
        return self._value(part, token, separated=False)

    def _value(self, at: int, token: Token, *, separated: bool) -> int | None:
        text, start = self._at.text, token.start
        if token.kind == "string":
            self.hide(token)
            return at + 1
        if token.kind in ("variable", "shown"):
            return at + 1
        if token.kind in ("end", "comment"):
            return None
        if token.text in ("(", "{"):
            return self.bracket(at, words=True)
        if token.text == "[":
            following = self._at.peek(self._at.skip(at + 1))
            if following is not None and following.text == ":":
                return self.bracket(at, words=False)
            return at
        if token.text == '"':
            self.add(start + 1, len(text))
            return len(self._at.all)
        if token.text.endswith('"') and token.kind == "other":
            return self._at.behind(self._in_deep_quotes(token))
        if token.text == "'" and (quoted := _IN_QUOTES.match(text, start)):
            self.add(*quoted.span(1))
            return self._at.behind(quoted.end())
        bare = _BARE.match(text, start)
        if bare is None or (not separated and _OTHER_NAME.match(text, start)):
            return None
        self.add(*bare.span())
        return self._at.behind(bare.end())

    def _in_deep_quotes(self, token: Token) -> int:
        r"""Hide what stands between `\"` and the next one of that depth; where it ends."""
        closing = re.compile(r"(?<!\\)" + re.escape(token.text)).search(self._at.text, token.end)
        end = closing.start() if closing else len(self._at.text)
        self.add(token.end, end)
        return closing.end() if closing else end

    def bracket(self, at: int, *, words: bool) -> int:
        """Hide the strings, and perhaps the words, in a bracket; the index behind it."""
        end = self._at.partners.get(at, len(self._at.all) - 1)
        before = ""
        for token in self._at.all[at + 1 : end + 1]:
            if token.kind == "string":
                self.hide(token)
            elif (
                words
                and token.kind == "name"
                and before not in (":", "/")
                and not (token.text.isdigit() and len(token.text) < _LEAST_DIGITS)
            ):
                self.add(token.start, token.end)
            before = token.text
        return end + 1

    def hide(self, token: Token) -> None:
        """Hide a token; of a string what stands between its quotes."""
        if token.kind != "string":
            self.add(token.start, token.end)
            return
        decoded = Decoded(token.text[1:-1], script=False)
        # A dollar is a variable only where no escape makes it one.
        raw = token.text[1:-1]
        if decoded.text not in NO_SECRETS and not _VARIABLES_ONLY.match(raw):
            self.found.append(Span(token.start + 1, token.end - 1, decoded.text))

    def add(self, start: int, end: int) -> None:
        """Hide a place of the text, unless it says that there is no secret."""
        meant = self._at.text[start:end]
        if meant.lower() not in NO_SECRETS:
            self.found.append(Span(start, end, meant))
