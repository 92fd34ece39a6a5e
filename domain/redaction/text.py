"""Whole texts without their secrets, every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from domain.canonical import ROUTEROS, canonicalise
from domain.canonical.routeros import origins
from domain.errors import NotRedactable
from domain.profiles import PROFILES, Profile
from domain.redaction.hashing import Redactor
from domain.redaction.inside import redact_inside
from domain.redaction.routeros import redact_line
from domain.routeros.menus import split_path

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_LINE = re.compile(r"([^\r\n]*)(\r*\n|\r|\Z)")


def redacted(text: str, platform: str, redactor: Redactor) -> str:
    """The text with each secret as its hash.

    A line with a secret that was wrapped comes out in one piece; all else stays to the byte.
    Raises `NotRedactable` for a platform whose secrets are not known.
    """
    if platform == ROUTEROS:
        return "".join(_routeros(text, redactor))
    profile = PROFILES.get(platform)
    if profile is None:
        raise NotRedactable(platform)
    lines = _LINE.findall(text)
    shown = in_context(profile, [line for line, _ in lines], redactor)
    return "".join(
        redact_line_of(profile, line, redactor) + end
        for line, (_, end) in zip(shown, lines, strict=True)
    )


def in_context(profile: Profile, lines: Iterable[str], redactor: Redactor) -> Iterator[str]:
    """The lines without the secrets that only the lines before them tell."""
    return profile.without_names(_without_keys(lines, redactor), redactor.secret)


def _without_keys(lines: Iterable[str], redactor: Redactor) -> Iterator[str]:
    """The lines, those of private keys (PEM) hidden one by one."""
    inside = False
    for line in lines:
        if inside:
            inside = "-----END" not in line
            yield redactor.secret(line.strip()) if inside else line
            continue
        inside = _KEY_BEGINS.search(line) is not None and "-----END" not in line
        yield line


def redact_line_of(profile: Profile, line: str, redactor: Redactor) -> str:
    """A line of a platform with a profile, without its secrets."""
    return redact_inside(profile.redacted(line, redactor.secret), redactor.meant)


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
            yield redact_inside(comment, redactor.meant, menu) + end
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
        yield redact_inside(comment, redactor.meant, menu) + end
