"""Changes between two configurations, by entry and property.

Invariant: these hold configuration text. They never leave the process but encrypted or redacted.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from domain.routeros.statements import Statement

ChangeKind: TypeAlias = Literal[
    "added", "removed", "modified", "renamed", "enabled", "disabled", "moved"
]


class PropertyChange(Struct, frozen=True, gc=False):
    """A property's value, as written: None where the entry does not have it, and empty for a word
    without a value, such as `!comment`."""

    name: str
    before: str | None
    after: str | None


class Place(Struct, frozen=True, gc=False):
    """Where an entry stands: the number of its line in its menu, from 0, and, in menus whose order
    is configuration, its position among the menu's entries, from 1."""

    line: int
    position: int | None = None


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """One change of one entry of one menu. An entry may have several, as moved and modified.

    `before` and `after` are the entry; a line that was not understood is only in the `_line` pair.
    `upgrade` says that it came with another version of RouterOS, which wrote a default differently.
    """

    section: str
    kind: ChangeKind
    before_line: str | None = None
    after_line: str | None = None
    before: Statement | None = None
    after: Statement | None = None
    before_place: Place | None = None
    after_place: Place | None = None
    properties: tuple[PropertyChange, ...] = ()
    upgrade: bool = False

    @property
    def entry(self) -> Statement | None:
        """The entry as it is now, or as it last was."""
        return self.after or self.before


class SemanticDiff(Struct, frozen=True, kw_only=True):
    """All that changed. With no `changes` and nothing `unknown`, the meaning is the same.

    `respelled` counts lines, by section, that are written differently and mean the same.
    `line_based` are sections with lines that were not understood: those are told as lines.
    `unknown` are sections of which an incomplete export says too little: what is absent there is
    told neither as removed nor as added. `beginning` says that the newer configuration is what the
    older one begins with. `outside` are interfaces that lead there, in either configuration.
    """

    changes: tuple[Change, ...] = ()
    respelled: tuple[tuple[str, int], ...] = ()
    line_based: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    upgraded: tuple[str, str] | None = None
    beginning: bool = False
    outside: frozenset[str] = frozenset()
