r"""Where the secrets of a script stand, or of any other text that assigns values to names.

A text is read as tokens of RouterOS's script language. Hidden are values that are given to names
that speak of secrets: after `=`, `:` or a comparison, by `:local`, `:global` and `:set`, after
`--name`, in `<name>`, a string or brackets right behind the name; all parts of a value that is put
together (`"a"."b"`); and properties of commands by the menu they belong to. What a string holds is
read in the same way, under its escapes.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from domain.redaction.decoding import Decoded
from domain.redaction.names import NO_SECRETS, speaks
from domain.redaction.patterns import TRIGGER, expects_secret, unnamed
from domain.redaction.properties import is_named_by_secret, is_secret
from domain.redaction.tokens import Token, partners, tokens
from domain.routeros.menus import split_path
from domain.routeros.vocabulary import SCRIPTS, VERBS

_DEPTH: Final = 12
_NAME = re.compile(r"[\w-]{1,64}\Z")
_ENDS_NAMED = re.compile(r"([\w-]{1,64})[\"']?[ \t]*[=:][ \t]*\Z")
_BARE = re.compile(
    r"(?:\\.|,(?![ \t]*[\w-]+(?:=|:[ \t])|[\"\s]|\Z)|&(?![\w.-]+=)|<(?!/)"
    r'|[^\s"\\;)\]},&<])++',
    re.DOTALL,
)
_OTHER_NAME = re.compile(r"[A-Za-z][\w.-]*=(?!=|\Z)")
_VARIABLES_ONLY = re.compile(r"(?:\$[\w]+|[\s.])+\Z")
_IN_QUOTES = re.compile(r"'([^'\r\n]{1,4096})'")
_HEADERS: Final = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))
_DECLARES: Final = frozenset(("local", "global", "set"))
_RUNS: Final = frozenset(("parse", "execute"))
_SEPARATES: Final = frozenset("=:~!>")
_SELECTS: Final = frozenset(
    ("find", "where", "print", "get", "detail", "and", "or", "not", "in", "default", *VERBS)
)
_LEAST_DIGITS: Final = 4
_OPENS_SCOPE: Final = "([{"


class Span(Struct, frozen=True, order=True):
    """A secret in a text: from where to before where, and what it means."""

    start: int
    end: int
    meant: str


def secret_spans(
    text: str, menu: str = "", *, script: bool = False, selector: bool = False, depth: int = 0
) -> list[Span]:
    """The secrets of a text, which may be within one another.

    `script` says that it is a script, so that names need no mark to be assigned to. `menu` is the
    one that its commands belong to; a `selector` begins behind a command.
    """
    if depth > _DEPTH:
        return [Span(0, len(text), text)]
    if not (TRIGGER.search(text) or is_named_by_secret(menu)):
        return []
    return _Scan(text, menu, script=script, selector=selector, depth=depth).run()


class _Scan:
    """One pass over the tokens of one text."""

    def __init__(self, text: str, menu: str, *, script: bool, selector: bool, depth: int) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._partners = partners(self._tokens)
        self._script = script
        self._depth = depth
        self._found: list[Span] = []
        self._menu = menu  # that of the statement
        self._home = menu  # the one that statements without a path belong to
        self._outer: list[tuple[str, str, bool]] = []
        self._selecting = selector  # words here choose entries

    def run(self) -> list[Span]:
        at = 0
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.opens and token.kind not in ("blank", "end", "comment"):
                self._begin(token)
            at = self._token(at, token)
        self._unnamed()
        return self._found

    def _begin(self, token: Token) -> None:
        """Note which menu a statement belongs to."""
        if token.text == "/":
            line = self._text[token.start : token.start + 256].split("\n", 1)[0]
            split = split_path(line)
            if split is not None:
                self._menu = split[0]
                if not split[1] or split[1][0] in ";\r":
                    self._home = split[0]
        elif token.text not in _OPENS_SCOPE:
            self._menu = "" if token.text == ":" else self._home

    def _token(self, at: int, token: Token) -> int:
        """Look at a token; the index of the one to go on with."""
        match token.kind:
            case "comment":
                inner = secret_spans(token.text[1:], self._menu, depth=self._depth + 1)
                self._found += (
                    Span(one.start + token.start + 1, one.end + token.start + 1, one.meant)
                    for one in inner
                )
            case "string" | "name":
                return self._word(at, token)
            case "variable":
                return self._compared(at, token.text[1:]) or at + 1
            case "end":
                self._selecting = False
            case "other":
                if token.text in ("[", "{"):
                    self._outer.append((self._menu, self._home, self._selecting))
                    self._selecting = False
                    if token.text == "[":
                        self._home = self._menu
                elif token.text in ("]", "}") and self._outer:
                    self._menu, self._home, self._selecting = self._outer.pop()
        return at + 1

    def _word(self, at: int, token: Token) -> int:
        name = token.text[1:-1] if token.kind == "string" else token.text
        if _NAME.match(name):
            value = self._value_of(at, name, quoted=token.kind == "string")
            if value is not None:
                return value
        if self._names_secret(at, token):
            self._hide_token(token)
            return at + 1
        if token.kind == "name" and name in VERBS | {"find", "where", "get", "print"}:
            self._selecting = is_named_by_secret(self._menu)
        if token.kind == "string":
            return self._string(at, token)
        return at + 1

    def _compared(self, at: int, name: str) -> int | None:
        """Hide what a variable is set to or compared with; the index behind it."""
        if not speaks(name):
            return None
        behind = self._skip(at + 1)
        separator = self._separator(behind) if self._text_at(behind) != ":" else None
        if separator is not None:
            return self._assigned(name, self._skip(separator), separated=True)
        return self._assigned(name, behind, separated=False) if self._declared(at) else None

    def _names_secret(self, at: int, token: Token) -> bool:
        """Whether a word chooses an entry whose name is a secret."""
        if not self._selecting or token.text in _SELECTS or token.text.isdigit():
            return False
        follows = self._peek(self._skip(at + 1))
        before = self._tokens[at - 1] if at else None
        separated = before is None or before.kind == "blank" or before.text in "["
        return separated and not (follows and follows.text in "=~!" and follows.kind == "other")

    def _value_of(self, at: int, name: str, *, quoted: bool) -> int | None:
        """Hide what is assigned to the name; the index behind it, None where nothing is."""
        if not is_secret(self._menu, name):
            return None
        after = at + 1
        if quoted and self._before(at) == "->" and self._text_at(after) == ")":
            after += 1
        behind = self._skip(after)
        if self._is_tag(at, after):
            start = self._tokens[after].end
            end = self._text.find("<", start)
            if end > start:
                self._add(start, end)
            return after + 1
        separator = self._separator(behind)
        if separator is not None:
            colon = self._tokens[behind].text == ":"
            value = self._skip(separator, over_ends=quoted and colon)
            return self._assigned(name, value, separated=True)
        if self._declared(at) or self._is_option(at) or (quoted and after > at + 1):
            return self._assigned(name, behind, separated=False) if behind > after else None
        first = self._peek(behind)
        if first is None or (behind == after and first.text != "(") or self._is_path_word(at):
            return None
        if first.kind == "string" or first.text.startswith("\\"):
            return self._assigned(name, behind, separated=False)
        if first.text == "(":
            return self._bracket(behind, words=False)
        return None

    def _assigned(self, name: str, at: int, *, separated: bool) -> int | None:
        """Hide the value that begins at a token, and what is put together with it."""
        token = self._peek(at)
        if token is None:
            return None
        if token.kind != "string" and name.lower() in _HEADERS:
            return None
        after = self._value(at, token, separated=separated)
        if after is None:
            return None
        while (joined := self._joined(after)) is not None:
            after = joined
        return after

    def _joined(self, at: int) -> int | None:
        """Hide what a dot puts behind a value."""
        dot = self._skip(at)
        if self._text_at(dot) != ".":
            return None
        part = self._skip(dot + 1)
        token = self._peek(part)
        if token is None or (token.kind not in ("string", "variable") and token.text not in "(["):
            return None
        return self._value(part, token, separated=False)

    def _value(self, at: int, token: Token, *, separated: bool) -> int | None:
        text, start = self._text, token.start
        if token.kind == "string":
            self._hide_token(token)
            return at + 1
        if token.kind in ("variable", "shown"):
            return at + 1
        if token.kind in ("end", "comment"):
            return None
        if token.text in ("(", "{"):
            return self._bracket(at, words=True)
        if token.text == "[":
            following = self._peek(self._skip(at + 1))
            if following is not None and following.text == ":":
                return self._bracket(at, words=False)
            return at
        if token.text == '"':
            self._add(start + 1, len(text))
            return len(self._tokens)
        if token.text.endswith('"') and token.kind == "other":
            return self._behind(self._in_deep_quotes(token))
        if token.text == "'" and (quoted := _IN_QUOTES.match(text, start)):
            self._add(*quoted.span(1))
            return self._behind(quoted.end())
        bare = _BARE.match(text, start)
        if bare is None or (not separated and _OTHER_NAME.match(text, start)):
            return None
        self._add(*bare.span())
        return self._behind(bare.end())

    def _in_deep_quotes(self, token: Token) -> int:
        r"""Hide what stands between `\"` and the next one of that depth; where it ends."""
        closing = re.compile(r"(?<!\\)" + re.escape(token.text)).search(self._text, token.end)
        end = closing.start() if closing else len(self._text)
        self._add(token.end, end)
        return closing.end() if closing else end

    def _bracket(self, at: int, *, words: bool) -> int:
        """Hide the strings, and perhaps the words, in a bracket; the index behind it."""
        end = self._partners.get(at, len(self._tokens) - 1)
        before = ""
        for token in self._tokens[at + 1 : end + 1]:
            if token.kind == "string":
                self._hide_token(token)
            elif (
                words
                and token.kind == "name"
                and before not in (":", "/")
                and not (token.text.isdigit() and len(token.text) < _LEAST_DIGITS)
            ):
                self._add(token.start, token.end)
            before = token.text
        return end + 1

    def _hide_token(self, token: Token) -> None:
        if token.kind != "string":
            self._add(token.start, token.end)
            return
        decoded = Decoded(token.text[1:-1])
        # A dollar is a variable only where no escape makes it one.
        raw = token.text[1:-1]
        if decoded.text not in NO_SECRETS and not _VARIABLES_ONLY.match(raw):
            self._found.append(Span(token.start + 1, token.end - 1, decoded.text))

    def _add(self, start: int, end: int) -> None:
        meant = self._text[start:end]
        if meant.lower() not in NO_SECRETS:
            self._found.append(Span(start, end, meant))

    def _string(self, at: int, token: Token) -> int:
        """Look into a string, and at what is put behind it."""
        decoded = Decoded(token.text[1:-1])
        base = token.start + 1
        for one in secret_spans(decoded.text, script=self._is_script(at), depth=self._depth + 1):
            start, end = (base + decoded.place(place) for place in (one.start, one.end))
            self._found.append(Span(start, end, one.meant))
        named = _ENDS_NAMED.search(decoded.text[-140:])
        if (named and speaks(named[1])) or expects_secret(decoded.text):
            return self._joined(at + 1) or at + 1
        return at + 1

    def _is_script(self, at: int) -> bool:
        """Whether a string is a script: `source="…"`, `:parse "…"`."""
        back = at - 1
        while back >= 0 and (self._tokens[back].kind == "blank" or self._text_at(back) in "=[("):
            back -= 1
        return back >= 0 and self._tokens[back].text in SCRIPTS | _RUNS

    def _declared(self, at: int) -> bool:
        """Whether a name stands behind `:local`, `:global` or `:set`."""
        back = at - 1
        if back < 1 or self._tokens[back].kind != "blank":
            return False
        word = self._tokens[back - 1]
        if word.text not in _DECLARES:
            return False
        return self._text_at(back - 2) == ":" or (self._script and word.opens and not self._menu)

    def _is_option(self, at: int) -> bool:
        return self._before(at) == "--"

    def _is_path_word(self, at: int) -> bool:
        """Whether a name is part of a menu's path: `secret` of `/ppp secret "x"`."""
        back = at - 1
        while back >= 0 and self._tokens[back].kind in ("name", "blank"):
            back -= 1
        if back < 0 or self._text_at(back) != "/":
            return False
        path = self._text[self._tokens[back].start : self._tokens[at].end]
        split = split_path(path)
        return split is not None and not split[1]

    def _is_tag(self, at: int, after: int) -> bool:
        return self._text_at(at - 1) == "<" and self._text_at(after) == ">"

    def _separator(self, at: int) -> int | None:
        """The index behind `=`, `:`, `~`, `!=`, `=>` at a token; None without one."""
        token = self._peek(at)
        if token is None or token.kind != "other" or token.text not in "=:~!":
            return None
        end = at + 1
        while self._text_at(end) in _SEPARATES and self._text_at(end) != ":":
            end += 1
        return end

    def _unnamed(self) -> None:
        """What patterns find outside of strings; inside of them they are asked on their own."""
        parts: list[str] = []
        done = 0
        for token in self._tokens:
            if token.kind in ("string", "comment") and len(token.text) > 1:
                inside = "\0" * (len(token.text) - 2)
                edge = '"' if token.kind == "string" else "#"
                parts += (self._text[done : token.start], edge, inside, edge)
                done = token.end
        masked = "".join(parts) + self._text[done:]
        self._found += (Span(*span, self._text[slice(*span)]) for span in unnamed(masked))

    def _before(self, at: int) -> str:
        return self._text_at(at - 2) + self._text_at(at - 1) if at > 1 else ""

    def _text_at(self, at: int) -> str:
        return self._tokens[at].text if 0 <= at < len(self._tokens) else "\0"

    def _peek(self, at: int) -> Token | None:
        return self._tokens[at] if at < len(self._tokens) else None

    def _skip(self, at: int, *, over_ends: bool = False) -> int:
        while at < len(self._tokens) and (
            self._tokens[at].kind == "blank" or (over_ends and self._tokens[at].kind == "end")
        ):
            at += 1
        return at

    def _behind(self, place: int) -> int:
        """The index of the first token that begins at a place of the text or behind it."""
        low, high = 0, len(self._tokens)
        while low < high:
            middle = (low + high) // 2
            if self._tokens[middle].start < place:
                low = middle + 1
            else:
                high = middle
        return low
