"""RouterOS menu paths: which words are menus, and where a path ends and a command begins.

Paths travel in events, so nothing but menu words may pass for one: a path begins with a known
root and goes on in short lower-case words up to the first command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_ROOTS: Final = """
app beep caps-man certificate console container disk driver dude environment file import interface
iot ip ipv6 isdn-channels kvm lcd led log lora metarouter mpls openflow partitions password port ppp
queue radius routing snmp special-login store system task tool tr069-client user user-manager
zerotier
"""
_COMMANDS: Final = """
add comment disable edit enable export find get import move print remove reset set unset
"""
ROOTS: Final = frozenset(_ROOTS.split())
COMMANDS: Final = frozenset(_COMMANDS.split())
_MAX_WORDS: Final = 6
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_SEPARATOR = re.compile(r"[ \t/]+")


def split_path(line: str) -> tuple[str, str] | None:
    """The menu path at the beginning of a line, and what follows it; None without a known one.

    Both `/ip firewall filter add …` and `/ip/firewall/filter/add …` give `/ip firewall filter`
    and `add …`; what follows is empty for a line that only opens a section.
    """
    if not line.startswith("/"):
        return None
    words: list[str] = []
    at = 1
    for separator in _SEPARATOR.finditer(f"{line[1:256]} "):
        word = line[at : separator.start() + 1]
        if word in COMMANDS or len(words) == _MAX_WORDS or not _WORD.match(word):
            break
        words.append(word)
        at = separator.end() + 1
    if not words or words[0] not in ROOTS:
        return None
    return "/" + " ".join(words), line[at:].lstrip(" \t/")


def whole_path(text: str) -> str | None:
    """The menu path that a text is, with nothing before or after it; else None."""
    split = split_path(text)
    return split[0] if split and not split[1] else None


def with_sections(logical: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Logical lines under their sections, from `/section` lines and from terse ones alike."""
    section = ""
    for line in logical:
        split = split_path(line)
        if split is None:
            yield section, line
        elif split[1]:
            yield split
        else:
            section = split[0]
