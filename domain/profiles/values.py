"""Values that go on over several lines: banners, quoted texts, scripts.

Inside of one nothing is a comment, a prompt, a blank end of a line or an opening of a section,
whatever it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

_DOUBLE: Final = re.compile(r'(?:[^"\\]|\\.)*+"')
_SINGLE: Final = re.compile(r"[^']*+'")
_SINGLE_ESCAPED: Final = re.compile(r"(?:[^'\\]|\\.)*+'")
_REST_OF_LINE: Final = re.compile(r".*")


class Values(Struct, frozen=True):
    """`opens` finds where a value begins on a line; what it found says how the value ends: by the
    pattern in `closes` under the name of its group, or by the text of its group `end`.

    A comment at the end of a line, and an escape, are in it too: what stands in them opens nothing.
    No pattern may take more than linear time on any line. Where they are `quoted` a value may be a
    secret; else it is a text or a script, with lines of its own. Where quotes in a value are not
    escaped, `plain` knows the lines that leave none open for sure.
    """

    opens: re.Pattern[str]
    closes: dict[str, re.Pattern[str]]
    quoted: bool = True
    plain: re.Pattern[str] | None = None

    def open_after(self, line: str, within: re.Pattern[str] | None) -> re.Pattern[str] | None:
        """What ends the value that is open after a line, which begins `within` one or outside."""
        at = 0
        while True:
            if within is None:
                found = self.opens.search(line, at)
                if found is None:
                    return None
                at = found.end()
                name = found.lastgroup or ""
                within = self.closes.get(name) or _until(found[name])
            closed = within.match(line, at)
            if closed is None:
                return within
            at = closed.end()
            within = None

    def grouped(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The lines, those that a value goes on over together."""
        group: list[str] = []
        within: re.Pattern[str] | None = None
        for line in lines:
            group.append(line)
            if within is not None or not self._is_plain(line):
                within = self.open_after(line, within)
            if within is None:
                yield group
                group = []
        if group:
            yield group

    def _is_plain(self, line: str) -> bool:
        return _has_pairs(line) if self.plain is None else self.plain.match(line) is not None


def _has_pairs(line: str) -> bool:
    """Whether it is plain that a line outside of values leaves none open: it has quotes of one kind
    at most, each with its other one."""
    double, single = line.count('"'), line.count("'")
    return (
        not (double and single)
        and (double + single) % 2 == 0
        and "\\" not in line
        and "/*" not in line
    )


def _until(text: str) -> re.Pattern[str]:
    return re.compile(f".*?{re.escape(text)}", re.DOTALL)


# `banner motd ^C`, `aaa authentication fail-message ^C`: up to the same mark; a macro up to `@`.
IOS: Final = Values(
    re.compile(
        r"(?P<macro>\Amacro name \S+[ \t]*\Z)"
        r"|\A[ \t]*(?:banner \S+|aaa authentication (?:banner|fail-message)|menu \S+ title"
        r"|(?:vacant|refuse|busy|login)-message) (?P<end>\^C|\x03|\S)"
    ),
    {"macro": re.compile(r"\A@")},
    quoted=False,
)
# `banner motd`, and code in event handlers and control functions: up to a line `EOF`.
EOS: Final = Values(
    re.compile(
        r"(?P<text>\A[ \t]*(?:banner (?:motd|login)|action bash|code(?: unit \S+)?)[ \t]*\Z)"
    ),
    {"text": re.compile(r"\A[ \t]*EOF[ \t]*\Z")},
    quoted=False,
)
# Quoted texts and annotations.
JUNOS: Final = Values(
    re.compile(r'(?P<text>")|(?P<note>/\*)|(?P<rest>(?<![^\s;{}])#)'),
    {"text": _DOUBLE, "note": re.compile(r".*?\*/"), "rest": _REST_OF_LINE},
)
# From the first quote of a `set` line to one at a line's end: quotes in a value are not escaped.
VYOS: Final = Values(
    re.compile(r"\A(?:set|delete)\b[^']*+(?P<text>')"),
    {"text": re.compile(r".*'[ \t]*\Z")},
    plain=re.compile(r"[^']*+(?:(?<=\s)'[^']*+'(?=\s|\Z)[^']*+)*+\Z"),
)
# As a shell would read them.
OPENWRT: Final = Values(
    re.compile(r"""(?P<escape>\\)|(?P<text>")|(?P<single>')|(?P<rest>(?<!\S)\#)"""),
    {"escape": re.compile(r".?"), "text": _DOUBLE, "single": _SINGLE, "rest": _REST_OF_LINE},
)
FORTIOS: Final = Values(
    re.compile(r"""(?P<text>")|(?P<single>(?<=\s)')"""),
    {"text": _DOUBLE, "single": _SINGLE_ESCAPED},
)
