"""What a profile says, and what follows from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from domain.profiles.finding import Line, Secrets, replaced
from domain.profiles.keys import Keys
from domain.profiles.values import Values
from domain.profiles.watched import WATCHED
from domain.profiles.watching import Watched

Style: TypeAlias = Literal["indent", "brace", "set", "flat", "edit"]
Path: TypeAlias = tuple[str, ...]

# Deeper nesting than any device writes is no path any more: its lines are all at this depth.
_MOST_DEPTH: Final = 24


class Profile(Struct, frozen=True, kw_only=True):
    """How one platform writes its configuration.

    `style`: hierarchy by indentation, by braces, as a path in every `set` line, flat under
    headings, or between `config`, `edit`, `next` and `end`. `volatile` lines say nothing of the
    configuration (`volatile_2` are those that versions 1 and 2 knew, where they were fewer);
    `comment` begins lines that are none either, but not `remark`, with which a
    device writes comments that it keeps. `values` are the ones that may go on over several lines.
    `secrets` find secrets in a line; of a `salted` one (in the group `secret`) it can't be known
    whether it changed, because the device writes it differently each time. Lines of `prose` are
    words for people. `names` are blocks in which names are secrets (how one begins), and where in
    its lines they stand; `keys` are lines that are a secret or a number. `heads` are the words that
    begin sections: of a path only these may be in an event.

    Where the command that shows the configuration writes `head` at its beginning, it writes `tail`
    as its last line: a text with the one and without the other was cut.
    """

    name: str
    style: Style
    comment: str = ""
    remark: str = ""
    volatile: re.Pattern[str]
    volatile_2: re.Pattern[str] | None = None
    values: Values | None = None
    secrets: Secrets
    salted: re.Pattern[str] | None = None
    prose: re.Pattern[str] | None = None
    names: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = ()
    keys: Keys | None = None
    heads: frozenset[str]
    head: re.Pattern[str] | None = None
    tail: str = ""
    version: int = 2

    @property
    def rules(self) -> str:
        """The name of the rules of its canonical form, whose version is new when they are."""
        return f"{self.name}/{self.version}"

    @property
    def watched(self) -> Watched:
        """What of it deserves a look."""
        return WATCHED[self.name]

    def section(self, path: str) -> str:
        """The known words at the beginning of a path or a line; `other` where there are none."""
        words = path.split()
        for count in (2, 1):
            head = " ".join(words[:count]).strip("{'\";")
            if head in self.heads:
                return head
        return "other"

    def redacted(self, line: str, hide: Callable[[str], str]) -> str:
        """The line with `hide` of each secret in its place."""
        read = Line(line)
        if self.prose is not None and self.prose.match(read.text):
            return line
        if self.salted is not None:
            read.hide(self.salted, lambda _: "<secret>")
        self.secrets.hide_in(read, hide)
        return read.written

    def in_context(self, lines: Iterable[str], hide: Callable[[str], str]) -> Iterator[str]:
        """The lines without what is a secret because of the block that it is in."""
        shown = self._without_names(lines, hide)
        return shown if self.keys is None else self.keys.hidden(shown, hide)

    def _without_names(self, lines: Iterable[str], hide: Callable[[str], str]) -> Iterator[str]:
        if not self.names:
            yield from lines
            return
        within: re.Pattern[str] | None = None
        depth = 0
        for line in lines:
            word = line.split(maxsplit=1)[:1]
            if within is None:
                if word == ["config"]:
                    heads = (name for begins, name in self.names if begins.match(line))
                    within, depth = next(heads, None), 1
                yield line
                continue
            depth += (word == ["config"]) - (word == ["end"])
            yield within.sub(lambda found: replaced(found, hide(found["secret"])), line)
            within = within if depth else None


def is_open(lines: Iterable[str], style: Style) -> bool:
    """Whether something that is closed in writing is open after the lines."""
    depth = 0
    for line in lines:
        bare = line.strip()
        if style == "brace":
            depth += bare.endswith("{") - bare.startswith("}")
        elif style == "edit":
            word = bare.split(" ", 1)[0]
            depth += (word in ("config", "edit")) - (word in ("end", "next"))
    return depth > 0


def with_paths(lines: Iterable[str], style: Style) -> list[tuple[Path, str]]:
    """Each line under its path: the lines that it is nested in, from the outermost.

    A line may hold a value that goes on over several lines.
    """
    match style:
        case "indent":
            return _indented(lines)
        case "brace":
            return _braced(lines)
        case "set":
            return [(_set_path(line), line) for line in lines]
        case "flat":
            return _flat(lines)
        case "edit":
            return _edited(lines)


def _indented(lines: Iterable[str]) -> list[tuple[Path, str]]:
    found = []
    nest: list[tuple[int, str]] = []
    for line in lines:
        depth = len(line) - len(line.lstrip(" \t"))
        while nest and nest[-1][0] >= depth:
            nest.pop()
        bare = line.strip()
        found.append((tuple(one for _, one in nest[:_MOST_DEPTH]), bare))
        nest.append((depth, bare))
    return found


def _braced(lines: Iterable[str]) -> list[tuple[Path, str]]:
    found = []
    nest: list[str] = []
    for line in lines:
        bare = line.strip()
        if bare.startswith("}"):
            if nest:
                nest.pop()
            continue
        found.append((tuple(nest[:_MOST_DEPTH]), bare))
        if bare.endswith("{"):
            nest.append(bare.removesuffix("{").strip())
    return found


def _set_path(line: str) -> Path:
    words = line.split()
    return tuple(words[1:3]) if words[:1] in (["set"], ["delete"]) else ()


def _flat(lines: Iterable[str]) -> list[tuple[Path, str]]:
    """As `uci export` writes it: packages, in them `config` lines, in those options."""
    found = []
    nest: list[str] = []
    for line in lines:
        bare = line.strip()
        word = bare.split(" ", 1)[0]
        if word == "package":
            nest = []
        elif word == "config":
            nest = nest[:1]
        found.append((tuple(nest[:_MOST_DEPTH]), bare))
        if word in ("package", "config"):
            nest.append(bare)
    return found


def _edited(lines: Iterable[str]) -> list[tuple[Path, str]]:
    found = []
    nest: list[str] = []
    for line in lines:
        bare = line.strip()
        word = bare.split(" ", 1)[0]
        if word in ("end", "next"):
            if nest:
                nest.pop()
            continue
        found.append((tuple(nest[:_MOST_DEPTH]), bare))
        if word in ("config", "edit"):
            nest.append(bare)
    return found
