"""Whole texts without their secrets, every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator

from domain.canonical import ROUTEROS, canonicalise
from domain.canonical.routeros import origins
from domain.errors import NotRedactable
from domain.redaction.hashing import Redactor
from domain.redaction.inside import redact_inside
from domain.redaction.routeros import redact_line
from domain.routeros.menus import split_path

_LINE = re.compile(r"([^\r\n]*)(\r*\n|\r|\Z)")


def redacted(text: str, platform: str, redactor: Redactor) -> str:
    """The text with each secret as its hash.

    A line with a secret that was wrapped comes out in one piece; all else stays to the byte.
    Raises `NotRedactable` for a platform whose secrets are not known.
    """
    if platform != ROUTEROS:
        raise NotRedactable(platform)
    return "".join(_routeros(text, redactor))


def _routeros(text: str, redactor: Redactor) -> Iterator[str]:
    lines = [(found[1], found[2]) for found in _LINE.finditer(text)]
    if text.startswith("\ufeff"):
        lines[0] = (lines[0][0].removeprefix("\ufeff"), lines[0][1])
        yield "\ufeff"
    menu = ""
    done = 0
    logical = canonicalise(text, ROUTEROS).logical
    for line, (first, after) in zip(logical, origins(text), strict=True):
        for comment, end in lines[done:first]:
            yield redact_inside(comment, redactor.secret) + end
        done = after
        split = split_path(line)
        if split is not None and not split[1]:
            menu = split[0]
            shown = line
        else:
            shown = redact_line(split[0] if split else menu, line, redactor)
        if shown == line:
            yield from (piece + end for piece, end in lines[first:after])
        else:
            yield shown + lines[after - 1][1]
    for comment, end in lines[done:]:
        yield redact_inside(comment, redactor.secret) + end
