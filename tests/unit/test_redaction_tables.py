"""Secrets by example, platform by platform: what is marked is hidden, and nothing else changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from domain.redaction import Redactor, redacted
from domain.routeros.strings import written

FOLDER = Path(__file__).resolve().parents[1] / "samples" / "secrets"
REDACTOR = Redactor(b"k" * 32, "r1")
_HASH = re.compile(r"<secret(?::[0-9a-f]{8})?>")
_MARKED = re.compile(r"«(.*?)»", re.DOTALL)


def cases(platform: str) -> list[tuple[str, str]]:
    """What the table of a platform holds, each with the kind of text it is."""
    kind = "export"
    found = []
    for line in (FOLDER / f"{platform}.txt").read_text().splitlines():
        if re.fullmatch(r"\[\w+\]", line):
            kind = line[1:-1]
        elif line.strip() and not line.startswith("## "):
            found.append((kind, line.replace("⏎", "\n")))
    return found


def texts(kind: str, case: str) -> tuple[str, str]:
    """A text, and what must become of it."""
    given, wanted = _MARKED.sub(r"\1", case), _MARKED.sub("<secret>", case)
    if kind == "script":
        given, wanted = (_script(one) for one in (given, wanted))
    return f"{given}\n", f"{wanted}\n"


def _script(body: str) -> str:
    source = written(f":put 1\r\n{body}\r\n:put 2")
    return f"/system script\nadd name=s source={source} policy=read"


@pytest.mark.parametrize(
    ("platform", "kind", "case"),
    [
        (path.stem, kind, case)
        for path in sorted(FOLDER.glob("*.txt"))
        for kind, case in cases(path.stem)
    ],
)
def test_what_is_marked_is_hidden_and_nothing_else(platform: str, kind: str, case: str) -> None:
    text, wanted = texts(kind, case)
    shown = redacted(text, platform, REDACTOR)
    assert _unquoted(_HASH.sub("<secret>", shown)) == _unquoted(wanted)
    assert redacted(shown, platform, REDACTOR) == shown


def _unquoted(text: str) -> str:
    """A hash needs no quotes, and may have those of the secret."""
    return text.replace('"<secret>"', "<secret>")
