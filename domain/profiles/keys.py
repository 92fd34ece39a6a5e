"""Lines that are the number of a key in one block, and a secret in another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from domain.profiles.finding import replaced


class Keys(Struct, frozen=True, kw_only=True):
    """`line` is such a line, with the secret in its group `secret`. It is one in blocks that begin
    with `secret`, none in those that begin with `number`, and elsewhere if it has `least` signs.
    """

    line: re.Pattern[str]
    secret: re.Pattern[str]
    number: re.Pattern[str]
    least: int

    def hidden(self, lines: Iterable[str], hide: Callable[[str], str]) -> Iterator[str]:
        """The lines, nested by their indentation, with `hide` of each secret in its place."""
        nest: list[tuple[int, str]] = []
        for line in lines:
            depth = len(line) - len(line.lstrip(" \t"))
            while nest and nest[-1][0] >= depth:
                nest.pop()
            found = self.line.match(line)
            if found is not None and self._is_secret(found["secret"], nest[-1][1] if nest else ""):
                yield replaced(found, hide(found["secret"]))
            else:
                yield line
            nest.append((depth, line))

    def _is_secret(self, key: str, head: str) -> bool:
        if self.number.match(head):
            return False
        return len(key) >= self.least or self.secret.match(head) is not None
