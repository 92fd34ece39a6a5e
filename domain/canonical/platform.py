"""Which platform a text comes from, when nobody says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from domain.canonical.form import BLANKS
from domain.canonical.header import is_header, is_prompt
from domain.routeros.menus import split_path

ROUTEROS: Final = "routeros"
TEXT: Final = "text"


def detect_platform(text: str, routeros_version: str | None = None) -> str:
    """`routeros` or `text`.

    It is RouterOS when a version was given with the text, when a `… by RouterOS …` line stands
    before the first configuration line, or when that line begins with a known RouterOS menu, as
    in `/ip address`. Comments, empty lines and prompts are passed over. All else is text:
    taking foreign text for RouterOS would hide changes in its `#` lines.
    """
    if routeros_version:
        return ROUTEROS
    for line in _lines(text.removeprefix("\ufeff")):
        bare = line.strip(BLANKS)
        if is_header(bare):
            return ROUTEROS
        if bare and not bare.startswith("#") and not is_prompt(bare):
            return ROUTEROS if split_path(bare) else TEXT
    return TEXT


def _lines(text: str) -> Iterator[str]:
    """The lines one by one: the answer lies near the beginning of what may be 64 MiB."""
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield from text[at:end].split("\r")
        at = end + 1
