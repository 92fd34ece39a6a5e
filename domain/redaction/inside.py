"""Text without the secrets inside of it: scripts, addresses, headers, comments."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from domain.redaction.decoding import Decoded, with_dollars
from domain.redaction.scripts import secret_spans
from domain.redaction.values import Span


def redact_inside(
    text: str,
    hide: Callable[[str], str],
    menu: str = "",
    *,
    script: bool = False,
    selector: bool = False,
) -> str:
    """The text with `hide` of what each secret means in its place; everything else as it was."""
    return _without(text, secret_spans(text, menu, script=script, selector=selector), hide)


def redact_inside_value(
    value: str, hide: Callable[[str], str], menu: str = "", *, script: bool = False
) -> str:
    """The same for a value of RouterOS, with its quotes and escapes."""
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    if not quoted and "\\" not in value:
        return redact_inside(value, hide, menu, script=script)
    base = 1 if quoted else 0
    decoded = Decoded(value[base : len(value) - base], script=script)
    found = secret_spans(decoded.text, menu, script=script)
    if not found:
        return value
    places = [
        Span(base + decoded.place(one.start), base + decoded.place(one.end), one.meant)
        for one in found
    ]
    return _without(value, places, hide)


def _without(text: str, found: Iterable[Span], hide: Callable[[str], str]) -> str:
    """The text with each secret hidden; those that overlap as one."""
    parts: list[str] = []
    done = 0
    for one in _apart(found):
        parts += (text[done : one.start], hide(with_dollars(one.meant)))
        done = one.end
    return "".join(parts) + text[done:] if parts else text


def _apart(found: Iterable[Span]) -> list[Span]:
    """The secrets in order, overlapping ones put together: the longest says what is meant."""
    apart: list[Span] = []
    for one in sorted(found, key=lambda span: (span.start, -span.end)):
        if one.start == one.end:
            continue
        if apart and one.start < apart[-1].end:
            last = apart[-1]
            if one.end > last.end:
                apart[-1] = Span(last.start, one.end, last.meant + one.meant)
        else:
            apart.append(one)
    return apart
