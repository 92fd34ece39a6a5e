"""How far two configurations can be held against each other, when a text may not be all there is.

What a text that was cut says last is no fact: half an entry looks like another entry. And what it
lacks may be in the part that is missing.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import groupby
from typing import TypeVar

from msgspec.structs import replace

from domain.canonical.form import LogicalForm

Form = TypeVar("Form", bound=LogicalForm)


def with_cuts(before: Form, after: Form) -> tuple[Form, Form]:
    """The two forms, each as `cut` if the other shows that it may have been.

    A text alone does not show a cut inside of its last value. Beside another one it does, when its
    last line is the beginning of one there.
    """
    return _seen_beside(before, after), _seen_beside(after, before)


def is_beginning(form: LogicalForm, other: LogicalForm) -> bool:
    """Whether a form has the lines that another one begins with, and no others."""
    count = len(form.logical)
    return count < len(other.logical) and form.logical == other.logical[:count]


class Extent:
    """What a form has for sure, and of which sections it has all."""

    def __init__(self, form: LogicalForm) -> None:
        self._form = form
        last = _last_two(form) if form.cut else []
        self.last_section = last[-1] if last else None
        # Half a line with its own path says nothing of its section: it may be of the one before.
        own = form.cut and (
            form.named is not None or (form.logical[-1:] and form.logical[-1][:1] == "/")
        )
        self._last = frozenset(last if own else last[-1:])
        self._parts: Counter[str] | None = None

    def whole(self, section: str, other: Extent) -> bool:
        """Whether what is not in the section here was not on the device either.

        A menu that the device could not export may be there in part. An export that was cut may
        lack any section that it does not have, the rest of its last one, and the second part of one
        that comes in several.
        """
        if any(f"{section} ".startswith(f"{menu} ") for menu in self._form.unread):
            return False
        if not self._form.cut:
            return True
        parts = self._in_parts(section)
        return section not in self._last and parts > 0 and parts >= other._in_parts(section)

    def _in_parts(self, section: str) -> int:
        """In how many stretches the section's lines come."""
        if self._parts is None:
            stretches = groupby(section for section, _ in self._form.sure_lines)
            self._parts = Counter(menu for menu, _ in stretches)
        return self._parts[section]


def _last_two(form: LogicalForm) -> list[str]:
    """The sections of the last two lines."""
    return [section for section, _ in deque(form.lines, maxlen=2)]


def _seen_beside(form: Form, other: Form) -> Form:
    if form.cut or not form.logical:
        return form
    may_be_cut = _ends_early(form, other) if form.unfinished else _lost_a_tail(form, other)
    return replace(form, cut=True) if may_be_cut else form


def _ends_early(form: LogicalForm, other: LogicalForm) -> bool:
    """Whether a text whose last line has no end may have lost more than that.

    Where the other one's has, and this is what that begins with: surely. What another platform
    writes before its configuration looks like one when it was cut there. Where neither last line
    has an end, whoever keeps the texts takes it away: then it is changed, and not cut, if nothing
    else is missing.
    """
    at = len(form.logical) - 1
    if form.logical[:at] == other.logical[:at] and at < len(other.logical):
        there = other.logical[at]
        if there != form.logical[at]:
            if other.unfinished and at == len(other.logical) - 1:
                return False
            outside = at == 0 and form.named is not None and not other.unfinished
            if outside or there.startswith(form.logical[at]):
                return True
        else:
            return not other.unfinished and at < len(other.logical) - 1
    last = next(iter(deque(form.lines, maxlen=1)), None)
    if last is None:
        return False
    section, line = last
    if other.unfinished and _goes_on_alike(form, other, section):
        return False
    alike = [one for menu, one in other.lines if menu == section and one.startswith(line)]
    if not any(len(one) > len(line) for one in alike):
        return False
    return sum(one == last for one in form.lines) > alike.count(line)


def _goes_on_alike(form: LogicalForm, other: LogicalForm, section: str) -> bool:
    """Whether the other text ends in the same section, has nothing before its last line there that
    is missing here, and goes on in that where the form ends.

    The beginning of the last line is often that of an earlier one too. But who was cut there lacks
    what stands between.
    """
    if next((menu for menu, _ in deque(other.lines, maxlen=1)), None) != section:
        return False
    *here, last = (line for menu, line in form.lines if menu == section)
    *there, others = (line for menu, line in other.lines if menu == section)
    return others.startswith(last) and Counter(there) <= Counter(here)


def _lost_a_tail(form: LogicalForm, other: LogicalForm) -> bool:
    """Whether a text is another one up to the middle of a line: who kept it ended that line.

    In the other's last line the rest may have been taken away on the device.
    """
    at = len(form.logical) - 1
    return (
        at < len(other.logical) - 1
        and other.logical[at] != form.logical[at]
        and other.logical[at].startswith(form.logical[at])
        and form.logical[:at] == other.logical[:at]
    )
