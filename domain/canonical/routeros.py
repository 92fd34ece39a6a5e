r"""Canonical form of RouterOS exports: `routeros/4`.

Dropped, because it is no configuration: a byte order mark, the kind of line endings, every `#`
line outside of a string, the by-line and its followers where they lost their `#`, prompts around
an export, blanks at line ends and empty lines. Wrapped lines are joined: the wrapping moves when an
earlier property changes. To join, the backslash, the newline and exactly four spaces go, nothing
else; the backslash wraps only at the end of an odd run of them, since `\\` is an escape.

A string may run over real newlines when a file was edited by hand: nothing is dropped inside it.

New in version 2: what RouterOS may write in several ways is written in one, by the rules of
`domain.routeros.spelling`: the order of menus, the order of entries where it means nothing, paths
that are repeated, `\_` for a blank, members of sets. What was equal under `routeros/1` still is.

New in version 3: settings are known by quoted names too, the order of `/mpls interface` counts, and
that of `/ip dns static` only where an entry is a pattern, not where a comment speaks of one.

New in version 4: the order of `/ip vrf` and of `/routing bfd configuration` counts.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec.structs import asdict

from domain.canonical.form import BLANKS, Canonical, LogicalForm, is_unfinished, unix
from domain.canonical.header import header_version, is_header, is_identity, is_prompt
from domain.routeros import spelling_2
from domain.routeros.menus import publishable, whole_path
from domain.routeros.spelling import normal
from domain.routeros.statements import is_broken_off, opens_menu
from domain.routeros.vocabulary import ORDERED_3

RULES: Final = "routeros/4"
RULES_3: Final = "routeros/3"
RULES_2: Final = "routeros/2"
RULES_1: Final = "routeros/1"
_INDENT: Final = "    "
_MAX_WARNINGS: Final = 50
_ESCAPE = re.compile(r"\\.")
_ERROR = re.compile(r"#+[ \t]*error exporting\b[ \t]*(.{0,200})", re.IGNORECASE)
_INTERRUPTED = re.compile(r"#+[ \t]*interrupted[ \t]*\Z", re.IGNORECASE)
_ERROR_MENU = re.compile(r'"?(/[^"(]*)"?[ \t]*(?:\([^)]*\))?[ \t]*\Z')
_PASSED_OVER: Final = ("#", "\n")
_PASSED_OVER_LINES: Final = ("", "#")
_ENDS_ODDLY: Final = frozenset("\\ \t")
_BEGINS_LINE: Final = frozenset("/abcdefghijklmnopqrstuvwxyz")


def canonicalise(text: str) -> Canonical:
    """The canonical form of an export. Takes time linear in the text's length."""
    reading = _Reading(unix(text))
    return reading.canonical(RULES, tuple(normal(reading.logical)))


def logical_form(text: str) -> LogicalForm:
    """What the canonical form has of the lines as they came."""
    return _Reading(unix(text)).form()


def canonicalise_3(text: str) -> Canonical:
    """The form under the rules of version 3."""
    reading = _Reading(unix(text))
    return reading.canonical(RULES_3, tuple(normal(reading.logical, ORDERED_3)))


def canonicalise_2(text: str) -> Canonical:
    """The form under the rules of version 2."""
    reading = _Reading(unix(text))
    return reading.canonical(RULES_2, tuple(spelling_2.normal(reading.logical)))


def canonicalise_1(text: str) -> Canonical:
    """The form under the rules of version 1: spelling and order as they came."""
    reading = _Reading(unix(text))
    return reading.canonical(RULES_1, tuple(reading.logical))


def origins(text: str) -> list[tuple[int, int]]:
    """For each logical line of the form, the physical lines that it stands on: from the first
    (counted from 0) to before the last."""
    return _Reading(unix(text), slowly=True).origins


def with_origins(text: str) -> list[tuple[str, int, int]]:
    """Each logical line of the form, with the physical lines that it stands on, as `origins`."""
    text = unix(text)
    reading = _Reading(text)
    if not reading.origins:
        reading.note_origins(text)
    return [
        (line, first, after)
        for line, (first, after) in zip(reading.logical, reading.origins, strict=True)
    ]


class _Reading:
    """One pass over the physical lines of one export.

    Exports as RouterOS writes them are read in bulk; whatever is odd about a text is for the slow
    way, which knows all the rules and also notes `origins`. Both give the same.
    """

    def __init__(self, text: str, *, slowly: bool = False) -> None:
        self.logical: list[str] = []
        self.origins: list[tuple[int, int]] = []
        self._unfinished = is_unfinished(text)
        self._count = text.count("\n") + self._unfinished
        self._os_version: str | None = None
        self._unread: dict[str, None] = {}
        self._nameless_error = False
        self._interrupted = False
        self._cut = False
        self._in_string = False
        if slowly or not self._read_in_bulk(text):
            self._read(text.removesuffix("\n").split("\n") if text else [])
        self._broken_off = not self._cut and not self._in_string and self._breaks_off(text)

    def canonical(self, rules: str, normal_lines: tuple[str, ...]) -> Canonical:
        """The form, with the given lines as what the fingerprint is taken over."""
        return Canonical(rules=rules, normal=normal_lines, **asdict(self.form()))

    def form(self) -> LogicalForm:
        """What was read."""
        menus = dict.fromkeys(publishable(menu) for menu in self._unread)
        warnings = [f"error exporting {menu}" for menu in menus if menu]
        if self._nameless_error:
            warnings.append("error exporting a menu")
        if self._interrupted:
            warnings.append("was interrupted")
        if self._in_string:
            warnings.append("ends inside a string")
        elif self._cut:
            warnings.append("ends inside a wrapped line")
        elif self._broken_off:
            warnings.append("ends inside a line")
        return LogicalForm(
            logical=tuple(self.logical),
            line_count=self._count,
            completeness="partial" if warnings else "complete",
            warnings=tuple(warnings),
            os_version=self._os_version,
            unread=tuple(self._unread),
            cut=self._cut or self._in_string or self._broken_off or self._interrupted,
            unfinished=self._unfinished,
            sectioned=True,
        )

    def note_origins(self, text: str) -> None:
        """Note where the lines stand of a text that was read in bulk, and so has no oddities."""
        first = 0
        for at, line in enumerate(text.split("\n")):
            if line[-1:] == "\\":
                continue
            if first < at or line[:1] not in _PASSED_OVER_LINES:
                self.origins.append((first, at + 1))
            first = at + 1

    def _read_in_bulk(self, text: str) -> bool:
        """Read a text without oddities; False, with nothing noted, when it has any."""
        began = 0
        while text.startswith(_PASSED_OVER, began):
            began = text.find("\n", began) + 1 or len(text)
        body = text[began:]
        if body[:1] != "/":
            return False
        comments: list[str] = []
        if "#" in body and "\n#" in body:
            if "\\\n#" in body:
                return False
            lines = body.split("\n")
            comments = [line for line in lines if line[:1] == "#"]
            body = "\n".join([line for line in lines if line[:1] != "#"])
        if "\\" in body:
            # An escape before a line's end, a backslash alone or at the very end: the slow way.
            if body.endswith("\\") or "\n\\\n" in body:
                return False
            if "\\\\" in body and "\\\\\n" in body:
                return False
            body = body.replace("\\\n" + _INDENT, "")
        logical = body.split("\n")
        begins = {line[:1] for line in logical}
        if "" in begins:
            begins.discard("")
            logical = [line for line in logical if line]
        if not begins <= _BEGINS_LINE:
            return False
        if not _ENDS_ODDLY.isdisjoint({line[-1] for line in logical}):
            return False
        odd = [line for line in logical if line.count('"') % 2]
        if "\\" in body:
            odd = [line for line in logical if '"' in line and _quotes(line) % 2]
        if odd:
            return False
        for line in text[:began].split("\n"):
            self._note(line.strip(BLANKS), before=True)
        for line in comments:
            self._note(line.strip(BLANKS), before=False)
        self.logical = logical
        return True

    def _read(self, physical: list[str]) -> None:
        parts: list[str] = []  # of the logical line under way; empty between two
        wrapped = ""  # the last part without its backslash, while it may be wrapped
        first = 0  # where the logical line under way begins
        for at, line in enumerate(physical):
            if parts:
                if wrapped and line.startswith(_INDENT):
                    parts[-1] = wrapped[:-1]
                    line = line[4:]
                elif self._in_string:
                    parts.append("\n")
                else:
                    self._add(parts, first, at, cut=True)
                    parts = []
            if not parts:
                if self._is_noise(line):
                    continue
                first = at
            bare = line.rstrip(BLANKS)
            if '"' in bare and _quotes(bare) % 2:
                self._in_string = not self._in_string
            wrapped = bare if bare.endswith("\\") and _wraps(bare) else ""
            if wrapped or self._in_string:
                parts.append(line)
            else:
                self._add([*parts, bare], first, at + 1)
                parts = []
        if parts:
            self._add(parts, first, len(physical), cut=bool(wrapped))

    def _add(self, parts: list[str], first: int, after: int, *, cut: bool = False) -> None:
        self.logical.append("".join(parts).rstrip(BLANKS + "\n"))
        self.origins.append((first, after))
        self._cut = cut

    def _breaks_off(self, text: str) -> bool:
        """Whether the last line opens a menu in which nothing comes, or has no end and is no whole
        statement either.

        Tools that keep texts often take the last newline away: that it is missing proves nothing.
        No export ends with a menu: only those with something in them are written.
        """
        ended = text.rstrip(BLANKS + "\n")
        last = ended[ended.rfind("\n") + 1 :].strip(BLANKS)
        if not last or last.startswith("#") or is_prompt(last) or not self.logical:
            return False
        if opens_menu(self.logical[-1]):
            return True
        return self._unfinished and is_broken_off(self.logical[-1])

    def _is_noise(self, line: str) -> bool:
        """Whether a line outside of strings and wrapped lines says nothing of the configuration."""
        if self.logical and line[:1].isalpha():
            return False
        line = line.strip(BLANKS)
        before = not self.logical
        if line.startswith("#") or (before and (is_header(line) or is_identity(line))):
            self._note(line, before=before)
            return True
        return not line or is_prompt(line)

    def _note(self, line: str, *, before: bool) -> None:
        """Keep what a dropped line says about the export itself. `before` the configuration."""
        if before and self._os_version is None and is_header(line):
            self._os_version = header_version(line)
        if _INTERRUPTED.match(line):
            self._interrupted = True
        error = _ERROR.match(line)
        if error is None:
            return
        menu = _ERROR_MENU.match(error[1])
        path = whole_path(menu[1].strip()) if menu else None
        if path is None or len(self._unread) >= _MAX_WARNINGS:
            self._nameless_error = True
        else:
            self._unread[path] = None


def _wraps(line: str) -> bool:
    """Whether the run of backslashes at the end of a line is odd."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _quotes(line: str) -> int:
    """How many quotes of a line open or close a string."""
    return (_ESCAPE.sub("", line) if "\\" in line else line).count('"')
