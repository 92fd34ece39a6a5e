r"""The parts of a script in which secrets may be, or what says whether something is one.

Only for speed, and only for lines of which it is plain that they change nothing for others: no
secret can be in them, what they open they close, and no string, value or menu goes on behind them.
"""

from __future__ import annotations

import re
from typing import Final

from domain.redaction.trigger import compiled, loud

# Strings of one line, and brackets that are closed as they were opened, three deep.
_STRING: Final = r'"(?:[^"\\\n]|\\[^\r\n])*+"'
_FLAT: Final = r'[^()\[\]{}"\\]'


def _nested(inner: str) -> str:
    return rf"(?:{_FLAT}|{_STRING}|\({inner}*+\)|\[{inner}*+\]|\{{{inner}*+\}})"


_CLOSED: Final = re.compile(rf"{_nested(_nested(_nested(rf'(?:{_FLAT}|{_STRING})')))}*+\Z")
# A statement in a menu: those that follow may belong to it.
_MENU: Final = re.compile(r"(?:\A|[;(\r])[ \t]*/")
_STRINGS: Final = re.compile(_STRING)
# What has a value on the next line, or makes one line of two.
_GOES_ON: Final = frozenset("=:~!>.,([{&|-<?\\")
# Names of menus in which anything may be a secret, and keys over many lines: then all of it counts.
_EVERYTHING: Final = compiled(r"-----BEGIN|communit|envs|zerotier|environment|\bkeys?\b|key-?chain")
_LEAST: Final = 8


def parts(text: str) -> list[tuple[int, int]]:
    """Where they begin and end; they begin at the beginning of a line."""
    lines = text.split("\n")
    if len(lines) < _LEAST or _EVERYTHING.search(text.encode("utf-8", "surrogatepass")):
        return [(0, len(text))]
    loud_ones = loud(lines)
    found: list[tuple[int, int]] = []
    at = 0
    open_since = 0  # brackets that are open since a line with a secret
    goes_on = False
    for number, line in enumerate(lines):
        end = at + len(line) + 1
        bare = line.strip()
        is_loud = number in loud_ones or goes_on or open_since > 0
        if not is_loud and _CLOSED.match(bare) and not _MENU.search(bare):
            at = end
            continue
        if found and found[-1][1] == at:
            found[-1] = (found[-1][0], end)
        else:
            found.append((at, end))
        at = end
        without = _STRINGS.sub("", bare)
        if '"' in without:  # of a string that goes on, or of none: all that follows counts
            found[-1] = (found[-1][0], len(text))
            break
        if is_loud:
            opened, closed = (sum(map(without.count, each)) for each in ("([{", ")]}"))
            open_since = max(0, open_since + opened - closed)
            goes_on = not bare or bare[-1] in _GOES_ON
    if found and found[-1][1] > len(text):
        found[-1] = (found[-1][0], len(text))
    return found
