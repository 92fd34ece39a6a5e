"""One statement of an export: `add name=lan`, `set [ find default-name=ether1 ] name=wan`.

Parsing is lossless (`render` of what was parsed is the line again) and takes linear time: no part
of the expressions below can match a text in two ways.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from domain.errors import NotUnderstood
from domain.routeros.menus import split_path
from domain.routeros.properties import NAMES
from domain.routeros.strings import STRING, members, plain
from domain.routeros.vocabulary import SETS, VERBS

_VERB = re.compile(r"[a-z][a-z-]*+(?=[ \t]|\Z)")
_FIND: Final = rf'\[(?:{STRING}|[^\[\]"]++|\[(?:{STRING}|[^\[\]"]++)*+\])*+\]'
SELECTOR: Final = rf'[ \t]++(?:{_FIND}|(?:{STRING}|[^ \t"=\[\]]++)++)(?=[ \t]|\Z)'
_SELECTOR = re.compile(SELECTOR, re.DOTALL)
# Names of sub-properties go on where the one before them ended: without a bound a long one, gone on
# with again and again, would take time and memory by the square of the line's length.
MOST_NAME: Final = 256
_PROPERTY = re.compile(
    rf'([ \t]++)(!?[.A-Za-z0-9][A-Za-z0-9_.-]*+)(?:=((?:{STRING}|[^ \t"\n]++)*+))?(?=[ \t]|\Z)',
    re.DOTALL,
)
# What `parse` surely understands: every property has a value.
_PLAIN = re.compile(
    rf"(?:add|set(?:(?![ \t]+!){SELECTOR})?+)"
    rf'(?:[ \t]++\.?[A-Za-z0-9][A-Za-z0-9_.-]*+=(?:{STRING}|[^ \t"\n]++)*+(?=[ \t]|\Z))*+\Z',
    re.DOTALL,
)
_BLANKS = re.compile(r"[ \t]+")


class Property(Struct, frozen=True, gc=False):
    """`name=value` as it is written, with the blanks before it.

    `name` is the full name: a leading dot in `written` continues the prefix of the one before.
    `value` has its quotes and escapes; None for a word without one: `!comment`, or `passive`, if it
    is known to be a name.
    """

    lead: str
    written: str
    name: str
    value: str | None

    @property
    def meaning(self) -> str:
        """The value without its spelling: equal for equal values."""
        if self.value is None:
            return ""
        if self.name.rpartition(".")[2] in SETS and "," in self.value:
            return ",".join(members(self.value))
        return plain(self.value)


class Statement(Struct, frozen=True, gc=False):
    """A parsed statement. `path` is the menu that a terse line repeats, as written, else empty.

    `selector` says which entry is meant, with the blanks before it.
    """

    path: str
    verb: str
    selector: str
    properties: tuple[Property, ...]

    @property
    def target(self) -> str:
        """The selector without its spelling: `[ find name=a ]`, `0`, `telnet`, or empty."""
        return _BLANKS.sub(" ", self.selector).strip()

    def get(self, name: str) -> str | None:
        """What a property's value means; None without the property."""
        for one in self.properties:
            if one.name == name:
                return one.meaning
        return None

    def meaning(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """The statement without its spelling and the order of its properties.

        Should it give a property twice, the order counts.
        """
        pairs = [(one.name, one.meaning) for one in self.properties]
        if not self.repeats:
            pairs.sort()
        return self.verb, self.target, tuple(pairs)

    @property
    def repeats(self) -> bool:
        """Whether it gives a property twice: then it can't be told by its properties."""
        return len({one.name for one in self.properties}) < len(self.properties)


def is_understood(line: str) -> bool:
    """Whether `parse` takes a line."""
    if _PLAIN.match(line):
        return True
    try:
        parse(line)
    except NotUnderstood:
        return False
    return True


def parse(line: str) -> Statement:
    """The statement in a logical line.

    Raises `NotUnderstood`, with a line of 1, for a line that is none.
    """
    path = ""
    at = 0
    if line.startswith("/"):
        split = split_path(line)
        if split is None or not split[1]:
            raise NotUnderstood(1, 1, "a menu and a command must stand here")
        at = len(line) - len(split[1])
        path = line[:at]
    verb = _VERB.match(line, at)
    if verb is None or verb[0] not in VERBS:
        raise NotUnderstood(1, at + 1, "a command such as add or set must stand here")
    at = verb.end()
    selector = ""
    if verb[0] != "add":
        found = _SELECTOR.match(line, at)
        if found is not None and not found[0].lstrip(" \t").startswith("!"):
            selector = found[0]
            at = found.end()
    properties, at = _properties(line, at)
    if at != len(line):
        raise NotUnderstood(1, at + 1, "a property such as name=value must stand here")
    return Statement(path, verb[0], selector, properties)


def _properties(line: str, at: int) -> tuple[tuple[Property, ...], int]:
    found = []
    prefix = ""
    while (match := _PROPERTY.match(line, at)) is not None:
        lead, written, value = match.groups()
        if value is None and written.removeprefix("!") not in NAMES:
            break
        name = written
        if len(prefix) + len(written) > MOST_NAME:
            break
        if written.startswith("."):
            name = prefix + written if prefix else written[1:]
        elif "." in written:
            prefix = written.rpartition(".")[0].removeprefix("!")
        found.append(Property(lead, written, name, value))
        at = match.end()
    return tuple(found), at


def render(statement: Statement) -> str:
    """The line of a statement, as it was written."""
    parts = [statement.path, statement.verb, statement.selector]
    for one in statement.properties:
        parts += (
            (one.lead, one.written)
            if one.value is None
            else (one.lead, one.written, "=", one.value)
        )
    return "".join(parts)


def opens_menu(line: str) -> bool:
    """Whether a line only opens a menu, or what would be one."""
    split = split_path(line)
    return split is not None and not split[1]


def is_broken_off(line: str) -> bool:
    """Whether a line with which a text ends can't be all of it.

    It ends in what is no menu, no command, or no name yet, in a selector, or in a value that is not
    there. That a line is whole can't be proven: the end of a value may be missing.
    """
    if opens_menu(line):
        return True
    split = split_path(line)
    command = split[1] if split else line
    if command.startswith(("/", "[")):
        return True
    word = command.split(" ", 1)[0]
    if word not in VERBS:
        return bool(word) and word == command and any(verb.startswith(word) for verb in VERBS)
    try:
        statement = parse(line)
    except NotUnderstood:
        return True
    if not statement.properties:
        return statement.verb in ("add", "set") or not statement.selector
    last = statement.properties[-1]
    return last.value == "" or (last.value is None and not last.written.startswith("!"))
