"""Whole texts without their secrets, every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from domain.canonical import ROUTEROS
from domain.canonical.routeros import with_origins
from domain.errors import NotRedactable
from domain.profiles import PROFILES, Profile
from domain.profiles.finding import LONGEST
from domain.redaction.hashing import Redactor
from domain.redaction.inside import redact_inside
from domain.redaction.patterns import KEY_LABEL
from domain.redaction.properties import has_secret_names
from domain.redaction.routeros import redact_line
from domain.redaction.trigger import loud
from domain.routeros.menus import split_path
from domain.routeros.statements import is_understood

_KEY_BEGINS = re.compile(rf"-----BEGIN {KEY_LABEL}-----")
# No line has one in it, and expressions take it for a blank.
_NEXT: Final = "\r"
_LINE = re.compile(r"([^\r\n]*)(\r++\n?|\n|\Z)")


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
    lines = _lines(text)
    known: dict[str, str] = {}  # many lines are there more than once
    shown: list[str] = []
    in_place = in_context(profile, [line for line, _ in lines], redactor)
    for line, (_, end) in zip(in_place, lines, strict=True):
        if line not in known:
            known[line] = redact_line_of(profile, line, redactor)
        shown += (known[line], end)
    return "".join(shown)


def _lines(text: str) -> list[tuple[str, str]]:
    """The lines of a text, each with what ends it."""
    found: list[tuple[str, str]] = []
    for line, end in _LINE.findall(text):
        if end.endswith("\r\r"):  # with no LF behind them each ends a line of its own
            found.append((line, "\r"))
            found += [("", "\r")] * (len(end) - 1)
        else:
            found.append((line, end))
    return found


def in_context(profile: Profile, lines: Iterable[str], redactor: Redactor) -> Iterator[str]:
    """The lines without the secrets that only the lines before them tell."""
    shown = _without_long_secrets(profile, _without_keys(lines, redactor), redactor)
    return profile.in_context(shown, redactor.secret)


def _without_long_secrets(
    profile: Profile, lines: Iterable[str], redactor: Redactor
) -> Iterator[str]:
    """The lines, without secrets that go on over several of them: each of these hidden by itself,
    the first one with the hash of the whole."""

    def hide(secret: str) -> str:
        first, *others = secret.split(_NEXT)
        if not others:
            return first
        whole = redactor.secret(secret.replace(_NEXT, "\n"))
        return _NEXT.join((whole, *(redactor.secret(one.strip()) for one in others)))

    if profile.values is None or not profile.values.quoted:
        yield from lines
        return
    for group in profile.values.grouped(lines):
        if len(group) == 1:
            yield from group
        elif sum(map(len, group)) > LONGEST:
            first, *others = group
            has_secret = profile.redacted(first, redactor.secret) != first
            yield first
            yield from (redactor.secret(one) for one in others) if has_secret else others
        else:
            yield from profile.redacted(_NEXT.join(group), hide).split(_NEXT)


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
    if text.startswith("\ufeff"):
        text = text[1:]
        yield "\ufeff"
    lines = _lines(text)
    logical = with_origins(text)
    loud_ones = loud([line for line, _, _ in logical])
    menu = ""
    done = 0
    for number, (line, first, after) in enumerate(logical):
        for comment, end in lines[done:first]:
            yield _comment(comment, menu, redactor) + end
        done = after
        own, command = menu, line
        if line.startswith("/") and (split := split_path(line)) is not None:
            own, command = split
            if not command:
                menu = own
                yield from _as_written(lines[first:after])
                continue
        if number not in loud_ones and not has_secret_names(own) and is_understood(command):
            yield from _as_written(lines[first:after])
            continue
        shown = redact_line(own, line, redactor)
        if shown == line:
            yield from _as_written(lines[first:after])
        else:
            yield shown + lines[after - 1][1]
    for comment, end in lines[done:]:
        yield _comment(comment, menu, redactor) + end


def _comment(line: str, menu: str, redactor: Redactor) -> str:
    return redact_inside(line, redactor.meant, menu) if line else line


def _as_written(lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (line + end for line, end in lines)
