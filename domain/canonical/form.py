"""What every canonical form has, and the line endings that all of them treat alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

from msgspec import Struct

from domain.events import Completeness
from domain.routeros.menus import with_sections
from domain.routeros.spelling import by_menu

BLANKS: Final = " \t"
_CRLF = re.compile(r"(?<!\r)\r+\n")


class LogicalForm(Struct, frozen=True, kw_only=True, dict=True):
    """A configuration's lines without what is no configuration: all that comparing two needs.

    `logical` are its lines as they came, with wrapped ones joined.
    `line_count` counts the lines of the text as it came. `unread` are menus that the device could
    not export, and `cut` says that the text ends in the middle: in both cases it is `partial`, and
    what is missing from it must not be taken for removed. Of one that was cut the last line is no
    fact either. `unfinished` says that the last line has no end, which proves nothing by itself.
    `named` are its lines with their sections, where they are not RouterOS menus.
    Invariant: `warnings`, `unread` and section names never hold values out of the text.
    """

    logical: tuple[str, ...]
    line_count: int
    completeness: Completeness = "complete"
    warnings: tuple[str, ...] = ()
    os_version: str | None = None
    unread: tuple[str, ...] = ()
    cut: bool = False
    unfinished: bool = False
    sectioned: bool = False
    named: tuple[tuple[str, str], ...] | None = None

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """Pairs of section and logical line, in order, without the lines that open a section.

        A section is a menu path such as `/ip firewall filter`; it is empty before the first one
        and where the rules know no sections.
        """
        if self.named is not None:
            return iter(self.named)
        if self.sectioned:
            return with_sections(self.logical)
        return (("", line) for line in self.logical)

    @property
    def sure_logical(self) -> tuple[str, ...]:
        """The logical lines without the one in which a text was cut."""
        return self.logical[:-1] if self.cut else self.logical

    @property
    def sure_lines(self) -> Iterator[tuple[str, str]]:
        """As `lines`, without the line in which a text was cut."""
        if not self.cut or not self.logical:
            return self.lines
        if self.named is not None:
            # Lines that only close something are in no section.
            ends = self.named[-1:] and self.named[-1][1].strip() == self.logical[-1].strip()
            return iter(self.named[:-1] if ends else self.named)
        if self.sectioned:
            return with_sections(self.sure_logical)
        return (("", line) for line in self.sure_logical)

    @cached_property
    def by_section(self) -> Mapping[str, Sequence[str]]:
        """The `sure_lines` of each section. Several comparisons of one form ask for it."""
        if self.sectioned and self.named is None:
            return by_menu(self.sure_logical)
        found: dict[str, list[str]] = {}
        for section, line in self.sure_lines:
            found.setdefault(section, []).append(line)
        return found


class Canonical(LogicalForm, frozen=True, kw_only=True, dict=True):
    """A configuration in canonical form. Equal `rules` and `text`: the same configuration.

    `normal` are the lines of the canonical form, in which spelling and order are no difference
    where they mean nothing.
    """

    rules: str
    normal: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the fingerprint is taken over: the normal lines, each with a newline."""
        return "\n".join((*self.normal, "")) if self.normal else ""


def unix(text: str) -> str:
    """The text without a byte order mark, and with LF as its only line ending.

    CR LF (also with several CR, as terminals double them) and a lone CR end a line too; NEL, LS,
    FF and the like may stand inside of one.
    """
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        if "\r\r" in text:
            text = _CRLF.sub("\n", text)
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def is_unfinished(text: str) -> bool:
    """Whether the last line of a text with unix line endings has no end."""
    return text[-1:] not in ("", "\n")


def physical_lines(text: str) -> list[str]:
    """The lines of a text, without a byte order mark and whatever their line endings."""
    lines = unix(text).split("\n")
    if not lines[-1]:
        lines.pop()
    return lines
