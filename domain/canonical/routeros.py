r"""Canonical form of RouterOS exports: `routeros/1`.

Dropped, because it is no configuration: a byte order mark, the kind of line endings, every `#`
line outside of a string, the by-line and its followers where they lost their `#`, prompts around
an export, blanks at line ends and empty lines. Wrapped lines are joined: the wrapping moves when an
earlier property changes. To join, the backslash, the newline and exactly four spaces go, nothing
else; the backslash wraps only at the end of an odd run of them, since `\\` is an escape.

A string may run over real newlines when a file was edited by hand: nothing is dropped inside it.
Reordering is not normalised in this version: another order of lines or sections is a change.
"""

from __future__ import annotations

import re
from typing import Final

from domain.canonical.form import BLANKS, Canonical, physical_lines
from domain.canonical.header import header_version, is_header, is_identity, is_prompt
from domain.canonical.menus import whole_path

RULES: Final = "routeros/1"
_INDENT: Final = "    "
_MAX_WARNINGS: Final = 50
_ESCAPE = re.compile(r"\\.")
_ERROR = re.compile(r"#+[ \t]*error exporting\b[ \t]*(.{0,200})", re.IGNORECASE)
_ERROR_MENU = re.compile(r'"?(/[^"(]*)"?[ \t]*(?:\([^)]*\))?[ \t]*\Z')


def canonicalise(text: str) -> Canonical:
    """The canonical form of an export. Takes time linear in the text's length."""
    return _Reading(physical_lines(text)).canonical()


class _Reading:
    """One pass over the physical lines of one export."""

    def __init__(self, physical: list[str]) -> None:
        self._count = len(physical)
        self._logical: list[str] = []
        self._os_version: str | None = None
        self._unread: dict[str, None] = {}
        self._nameless_error = False
        self._cut = False
        self._in_string = False
        self._read(physical)

    def canonical(self) -> Canonical:
        warnings = [f"error exporting {menu}" for menu in self._unread]
        if self._nameless_error:
            warnings.append("error exporting a menu")
        if self._in_string:
            warnings.append("ends inside a string")
        elif self._cut:
            warnings.append("ends inside a wrapped line")
        return Canonical(
            rules=RULES,
            logical=tuple(self._logical),
            line_count=self._count,
            completeness="partial" if warnings else "complete",
            warnings=tuple(warnings),
            os_version=self._os_version,
            unread=tuple(self._unread),
            cut=self._cut or self._in_string,
            sectioned=True,
        )

    def _read(self, physical: list[str]) -> None:
        parts: list[str] = []  # of the logical line under way; empty between two
        wrapped = ""  # the last part without its backslash, while it may be wrapped
        for line in physical:
            if (
                not parts
                and self._logical
                and line[:1].isalpha()
                and "\\" not in line
                and line.count('"') % 2 == 0
            ):
                # Nearly every line: whole, and plainly configuration.
                self._logical.append(line.rstrip(BLANKS))
                self._cut = False
                continue
            if parts:
                if wrapped and line.startswith(_INDENT):
                    parts[-1] = wrapped[:-1]
                    line = line[4:]
                elif self._in_string:
                    parts.append("\n")
                else:
                    self._add(parts, cut=True)
                    parts = []
            if not parts and self._is_noise(line):
                continue
            bare = line.rstrip(BLANKS)
            if '"' in bare and _quotes(bare) % 2:
                self._in_string = not self._in_string
            wrapped = bare if bare.endswith("\\") and _wraps(bare) else ""
            if wrapped or self._in_string:
                parts.append(line)
            elif parts:
                parts.append(bare)
                self._add(parts)
                parts = []
            else:
                self._logical.append(bare)
                self._cut = False
        if parts:
            self._add(parts, cut=bool(wrapped))

    def _add(self, parts: list[str], *, cut: bool = False) -> None:
        self._logical.append("".join(parts).rstrip(BLANKS + "\n"))
        self._cut = cut

    def _is_noise(self, line: str) -> bool:
        """Whether a line outside of strings and wrapped lines says nothing of the configuration."""
        if self._logical and line[:1].isalpha():
            return False
        line = line.strip(BLANKS)
        if line.startswith("#") or (not self._logical and (is_header(line) or is_identity(line))):
            self._note(line)
            return True
        return not line or is_prompt(line)

    def _note(self, line: str) -> None:
        """Keep what a dropped line says about the export itself."""
        if not self._logical and self._os_version is None and is_header(line):
            self._os_version = header_version(line)
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
