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

from domain.redaction.cursor import Tokens
from domain.redaction.decoding import Decoded
from domain.redaction.material import is_material
from domain.redaction.modems import hide_arguments
from domain.redaction.names import hints, speaks
from domain.redaction.parts import parts
from domain.redaction.patterns import expects_secret, unnamed
from domain.redaction.properties import has_secret_names, is_named_by_secret, is_secret
from domain.redaction.tokens import Token, tokens
from domain.redaction.trigger import triggers
from domain.redaction.values import Span, Values
from domain.routeros.menus import split_path
from domain.routeros.vocabulary import SCRIPTS, VERBS

_DEPTH: Final = 12
_ENDS = re.compile(r"[;\r\n]")
_NAME = re.compile(r"[\w-]{1,64}\Z")
_ENDS_NAMED = re.compile(r"([\w-]{1,64})[\"']?[ \t]*[=:][ \t]*\\*[\"']?\Z")
_RUNS: Final = frozenset(("parse", "execute"))
_ACTS: Final = VERBS | {"find", "where", "get", "print"}
_SELECTS: Final = _ACTS | {"detail", "and", "or", "not", "in", "default"}
_OPENS_SCOPE: Final = "([{"
# What stands before a comparison.
_COMPARES: Final = frozenset(("(", "&", "|", "!", "and", "or"))


def secret_spans(
    text: str, menu: str = "", *, script: bool = False, selector: bool = False, depth: int = 0
) -> list[Span]:
    """The secrets of a text, which may be within one another.

    `script` says that it is a script, so that names need no mark to be assigned to. `menu` is the
    one that its commands belong to; a `selector` begins behind a command.
    """
    if depth > _DEPTH:
        return [Span(0, len(text), text)]
    if not (has_secret_names(menu) or triggers(text)):
        return []
    return _Scan(text, menu, script=script, selector=selector, depth=depth).run()


class _Scan:
    """One pass over the tokens of one text."""

    def __init__(self, text: str, menu: str, *, script: bool, selector: bool, depth: int) -> None:
        places = [(0, len(text))] if has_secret_names(menu) else parts(text)
        self._at = Tokens(text, [one for place in places for one in tokens(text, *place)])
        self._values = Values(self._at)
        self._script = script
        self._depth = depth
        self._menu = menu  # that of the statement
        self._home = menu  # the one that statements without a path belong to
        self._outer: list[tuple[str, str, bool]] = []
        self._selecting = selector and is_named_by_secret(menu)  # words here choose entries

    def run(self) -> list[Span]:
        at = 0
        every = self._at.all
        while at < len(every):
            token = every[at]
            if token.kind == "blank":
                at += 1
                continue
            if token.opens and token.kind not in ("end", "comment"):
                self._begin(token)
            at = self._token(at, token)
        self._unnamed()
        return self._values.found

    def _begin(self, token: Token) -> None:
        """Note which menu a statement belongs to."""
        if token.text == "/":
            line = _ENDS.split(self._at.text[token.start : token.start + 256], maxsplit=1)[0]
            split = split_path(line)
            if split is not None:
                self._menu = split[0]
                if not split[1]:
                    self._home = split[0]
        elif token.text not in _OPENS_SCOPE:
            self._menu = "" if token.text == ":" else self._home

    def _token(self, at: int, token: Token) -> int:
        """Look at a token; the index of the one to go on with."""
        match token.kind:
            case "comment":
                inner = secret_spans(token.text[1:], self._menu, depth=self._depth + 1)
                self._values.found += (
                    Span(one.start + token.start + 1, one.end + token.start + 1, one.meant)
                    for one in inner
                )
            case "string" | "name":
                return self._word(at, token)
            case "variable":
                modem = hide_arguments(self._at, at, self._values)
                return modem or self._compared(at, token.text[1:]) or at + 1
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
        if (modem := hide_arguments(self._at, at, self._values)) is not None:
            return modem
        name = token.text[1:-1] if token.kind == "string" else token.text
        if _NAME.match(name):
            value = self._value_of(at, name, quoted=token.kind == "string")
            if value is not None:
                return value
        if self._names_secret(at, token) or self._compared_with_secret(at):
            self._values.hide(token)
            return at + 1
        if token.kind == "name" and name in _ACTS:
            self._selecting = is_named_by_secret(self._menu)
        if token.kind == "string":
            return self._string(at, token)
        return at + 1

    def _compared(self, at: int, name: str) -> int | None:
        """Hide what a variable is set to or compared with; the index behind it."""
        if not speaks(name):
            return None
        behind = self._at.skip(at + 1)
        separator = self._at.separator(behind) if self._at.text_at(behind) != ":" else None
        if separator is not None:
            return self._values.assigned(name, self._at.skip(separator), separated=True)
        if self._declared(at):
            return self._values.assigned(name, behind, separated=False)
        return None

    def _names_secret(self, at: int, token: Token) -> bool:
        """Whether a word chooses an entry whose name is a secret."""
        if not self._selecting or token.text in _SELECTS or token.text.isdigit():
            return False
        follows = self._at.peek(self._at.skip(at + 1))
        before = self._at.all[at - 1] if at else None
        separated = before is None or before.kind == "blank" or before.text in "["
        return separated and not (follows and follows.text in "=~!" and follows.kind == "other")

    def _compared_with_secret(self, at: int) -> bool:
        """Whether a word is compared with a variable: `("x" = $password)`. Elsewhere an equals sign
        assigns."""
        separator = self._at.separator(behind := self._at.skip(at + 1))
        if separator is None or self._at.text_at(behind) == ":":
            return False
        variable = self._at.peek(self._at.skip(separator))
        if variable is None or variable.kind != "variable" or not speaks(variable.text[1:]):
            return False
        back = at - 1
        while back >= 0 and self._at.all[back].kind == "blank":
            back -= 1
        return self._at.text_at(back) in _COMPARES

    def _value_of(self, at: int, name: str, *, quoted: bool) -> int | None:
        """Hide what is assigned to the name; the index behind it, None where nothing is."""
        if not is_secret(self._menu, name):
            return None
        after = at + 1
        if quoted and self._at.before(at) == "->" and self._at.text_at(after) == ")":
            after += 1
        behind = self._at.skip(after)
        if self._at.is_tag(at, after):
            start = self._at.all[after].end
            end = self._at.text.find("<", start)
            if end > start:
                self._values.add(start, end)
            return after + 1
        separator = self._at.separator(behind)
        if separator is not None:
            colon = self._at.all[behind].text == ":"
            value = self._at.skip(separator, over_ends=quoted and colon)
            return self._values.assigned(name, value, separated=True)
        declared = self._declared(at)
        if declared or self._at.is_option(at) or (quoted and after > at + 1):
            if behind == after:
                return None
            if (
                declared
                and self._at.text_at(behind) == "value"
                and self._at.text_at(behind + 1) == "="
            ):
                behind += 2
            return self._values.assigned(name, behind, separated=False)
        first = self._at.peek(behind)
        if first is None or (behind == after and first.text != "(") or self._at.is_path_word(at):
            return None
        if first.kind == "string" or first.text.startswith("\\"):
            return self._values.assigned(name, behind, separated=False)
        if first.text == "(":
            return self._values.bracket(behind, words=False)
        return None

    def _string(self, at: int, token: Token) -> int:
        """Look into a string, and at what is put behind it."""
        script = self._is_script(at)
        decoded = Decoded(token.text[1:-1], script=script)
        if self._is_hinted(at) and is_material(decoded.text):
            self._values.hide(token)
            return at + 1
        if not triggers(decoded.text):
            return at + 1
        base = token.start + 1
        for one in secret_spans(decoded.text, script=script, depth=self._depth + 1):
            start, end = (base + decoded.place(place) for place in (one.start, one.end))
            self._values.found.append(Span(start, end, one.meant))
        named = _ENDS_NAMED.search(decoded.text[-140:])
        if (named and speaks(named[1])) or expects_secret(decoded.text):
            return self._values.joined(at + 1) or at + 1
        return at + 1

    def _declared(self, at: int) -> bool:
        return self._at.declared(at, unmarked=self._script and not self._menu)

    def _is_hinted(self, at: int) -> bool:
        """Whether a string is given to a name that may be one of a secret."""
        back = at - 1
        while back >= 0 and (self._at.all[back].kind == "blank" or self._at.text_at(back) in "=:("):
            back -= 1
        return back >= 0 and self._at.all[back].kind == "name" and hints(self._at.text_at(back))

    def _is_script(self, at: int) -> bool:
        """Whether a string is a script: `source="…"`, `:parse "…"`."""
        back = at - 1
        while back >= 0 and (self._at.all[back].kind == "blank" or self._at.text_at(back) in "=[("):
            back -= 1
        return back >= 0 and self._at.all[back].text in SCRIPTS | _RUNS

    def _unnamed(self) -> None:
        """What patterns find outside of strings; inside of them they are asked on their own."""
        text = self._at.text
        pieces: list[str] = []
        done = 0
        for token in self._at.all:
            if token.start > done:  # lines that were passed over
                pieces.append("\n" * (token.start - done))
            if token.kind in ("string", "comment") and len(token.text) > 1:
                edge = '"' if token.kind == "string" else "#"
                pieces += (edge, "\0" * (len(token.text) - 2), edge)
            else:
                pieces.append(token.text)
            done = token.end
        masked = "".join(pieces)
        self._values.found += (Span(*span, text[slice(*span)]) for span in unnamed(masked))
