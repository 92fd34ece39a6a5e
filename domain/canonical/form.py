"""What every canonical form has, and the line endings that all of them treat alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from domain.canonical.menus import with_sections
from domain.events import Completeness

BLANKS: Final = " \t"
_CRLF = re.compile(r"(?<!\r)\r+\n")


class Canonical(Struct, frozen=True, kw_only=True):
    """A configuration in canonical form. Equal `rules` and `text`: the same configuration.

    `logical` are its lines, with wrapped ones joined. `line_count` counts the lines of the text as
    it came. `unread` are menus that the device could not export, and `cut`
    says that the text ends in the middle of a line: in both cases it is `partial`, and what is
    missing from it must not be taken for removed.
    Invariant: `warnings`, `unread` and section names never hold values out of the text.
    """

    rules: str
    logical: tuple[str, ...]
    line_count: int
    completeness: Completeness = "complete"
    warnings: tuple[str, ...] = ()
    os_version: str | None = None
    unread: tuple[str, ...] = ()
    cut: bool = False
    sectioned: bool = False

    @property
    def text(self) -> str:
        """What the fingerprint is taken over: the logical lines, each with a newline."""
        return "".join(f"{line}\n" for line in self.logical)

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """Pairs of section and logical line, in order, without the lines that open a section.

        A section is a menu path such as `/ip firewall filter`; it is empty before the first one
        and where the rules know no sections.
        """
        if self.sectioned:
            return with_sections(self.logical)
        return (("", line) for line in self.logical)


def physical_lines(text: str) -> list[str]:
    """The lines of a text, without a byte order mark and whatever their line endings.

    Only CR LF (also with several CR, as terminals double them), LF and a lone CR end a line:
    NEL, LS, FF and the like may stand inside of one.
    """
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        if "\r\r" in text:
            text = _CRLF.sub("\n", text)
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines
