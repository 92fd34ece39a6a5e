"""Commands of modems that carry secrets: `AT+CPIN="87654321","1234"`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from domain.redaction.cursor import Tokens
from domain.redaction.decoding import DOLLAR
from domain.redaction.values import Values

# Which of the arguments are secrets, counted from 0.
_SECRETS: Final[Mapping[str, frozenset[int]]] = {
    "CPIN": frozenset((0, 1)),
    "CPIN2": frozenset((0, 1)),
    "CPWD": frozenset((1, 2)),
    "CLCK": frozenset((2,)),
    "CGAUTH": frozenset((3,)),
    "QCPDPP": frozenset((2,)),
    "AUTHDATA": frozenset((3,)),
    "QICSGP": frozenset((4,)),
    "UAUTHREQ": frozenset((2, 3)),
}
# Any text with such a command has one of these in it.
STEMS: Final = "|".join(name.lower() for name in _SECRETS)
# What stands before a command's name, of the standard and of vendors.
_MARKS: Final = frozenset(("+", "^", "*", "#", "%", "$", DOLLAR))


def hide_arguments(at: Tokens, command: int, values: Values) -> int | None:
    """Hide the secrets of a command whose name is at an index; the index behind what was looked
    at, None where no such command is."""
    if at.text_at(command + 1) != "=":
        return None
    name = at.text_at(command)
    marked = name[:1] == "$" or at.text_at(command - 1) in _MARKS
    secrets = _SECRETS.get(name.removeprefix("$").upper()) if marked else None
    if secrets is None:
        return None
    place, number = command + 2, 0
    while (token := at.peek(place)) is not None and token.kind not in ("end", "comment"):
        if token.text == ",":
            number += 1
        elif number in secrets and token.kind != "blank":
            behind = values.assigned(name, place, separated=True)
            if behind is None or behind <= place:
                return place
            place = behind
            continue
        place += 1
    return place
