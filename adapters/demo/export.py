r"""RouterOS exports as devices write them, made from a configuration's logical lines.

The forms follow real exports: by-lines of several versions, `#` lines that say nothing of the
configuration, lines cut with `\` and continued after four spaces, both kinds of line endings.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

from msgspec import Struct

from domain.routeros.menus import split_path

_INDENT = "    "
_MAY_CUT = " =,"
_NARROWEST = 40
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


class Form(Struct, frozen=True, kw_only=True):
    """How a device writes its exports.

    `header`: `month` up to RouterOS 7.9, `padded` in some versions of that time, `iso` from 7.10
    on, `masked` when somebody took the time out.
    """

    version: str
    header: Literal["month", "padded", "iso", "masked"]
    identity: tuple[str, ...]
    crlf: bool = False


class Note(Struct, frozen=True):
    """A `#` line that the device writes before a line of its configuration."""

    before: str
    text: str


def render(
    lines: tuple[str, ...],
    form: Form,
    moment: datetime,
    *,
    width: int = 80,
    notes: tuple[Note, ...] = (),
    unread: str | None = None,
) -> str:
    """The export of a configuration at a moment.

    `width` is where lines are cut; `unread` a menu that does not answer, whose lines are missing.
    Raises `ValueError` when a note or the menu has no place in the configuration.
    """
    physical = [_by_line(form, moment), *(f"# {told}".rstrip() for told in form.identity), "#"]
    for note in notes:
        if note.before not in lines:
            raise ValueError(f"no line for the note {note.text!r}")
    for line in lines if unread is None else _without(lines, unread):
        physical += [f"# {note.text}" for note in notes if note.before == line]
        physical += wrapped(line, width)
    end = "\r\n" if form.crlf else "\n"
    return "".join(f"{line}{end}" for line in physical)


def wrapped(line: str, width: int) -> list[str]:
    r"""The physical lines of a logical one: each but the last ends with `\`.

    Cut after a blank, `=` or a comma, never inside an escape, never where only blanks would follow.
    """
    pieces = []
    room = width - 1
    while len(line) > room:
        cut = max(line.rfind(mark, _NARROWEST - len(_INDENT), room) for mark in _MAY_CUT) + 1
        if cut <= 0 or not line[cut:].strip():
            break
        pieces.append(line[:cut] + "\\")
        line = line[cut:]
        room = width - 1 - len(_INDENT)
    pieces.append(line)
    return [pieces[0], *(_INDENT + piece for piece in pieces[1:])]


def _without(lines: tuple[str, ...], menu: str) -> list[str]:
    """The lines with an error in place of a menu, as RouterOS from 7.11 on writes it."""
    kept = []
    inside = found = False
    for line in lines:
        split = split_path(line)
        if split is not None:
            inside = split[0] == menu
            if inside:
                found = True
                kept.append(f'#error exporting "{menu.replace(" ", "/")}" (timeout)')
        if not inside:
            kept.append(line)
    if not found:
        raise ValueError(f"no menu {menu}")
    return kept


def _by_line(form: Form, moment: datetime) -> str:
    month = _MONTHS[moment.month - 1]
    match form.header:
        case "month":
            told = f"{month}/{moment:%d/%Y %H:%M:%S} "
        case "padded":
            told = re.sub(r"\b0", " ", f"{month}/{moment:%d/%Y %H:%M:%S} ")
        case "iso":
            told = f"{moment:%Y-%m-%d %H:%M:%S} "
        case "masked":
            told = ""
    return f"# {told}by RouterOS {form.version}"
