"""What of a platform's configuration deserves a look: lists whose order counts, and risks."""

from __future__ import annotations

import re

from msgspec import Struct


class Ordered(Struct, frozen=True):
    """Lists of which the first entry that fits counts, so that their order is configuration.

    `within` finds the line under which they stand, None stands for none. `entries` finds what of an
    entry says in which of the lists it is; other lines are in none. Without what `number` finds,
    an entry is the same one at another place.
    """

    within: re.Pattern[str] | None
    entries: re.Pattern[str]
    number: re.Pattern[str] | None = None


class LineRisk(Struct, frozen=True):
    """A risk of a line that came or went: of lines that `line` finds, under a path that `path`
    finds (its lines with ` > ` between), if it is a change of that `kind`, or of any."""

    tag: str
    reason: str
    line: re.Pattern[str]
    path: re.Pattern[str] | None = None
    kind: str | None = None


class OpenBlock(Struct, frozen=True):
    """A rule that lets in whatever comes to it: a block that `begins` so, under such a `path`, in
    which each of `has` finds a line and `lacks` finds none."""

    begins: re.Pattern[str]
    has: tuple[re.Pattern[str], ...]
    path: re.Pattern[str] | None = None
    lacks: re.Pattern[str] | None = None


class Watched(Struct, frozen=True):
    """All of it for one platform."""

    ordered: tuple[Ordered, ...] = ()
    risks: tuple[LineRisk, ...] = ()
    open_blocks: tuple[OpenBlock, ...] = ()
