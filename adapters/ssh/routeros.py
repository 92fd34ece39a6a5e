"""RouterOS over SSH: the export command that fits the version, and proof that all of it came.

The command and a `:put` of a random word go in one line, so that the word comes last if and only if
the export came to its end: the exit status is 0 also when the tail was dropped.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from msgspec import Struct

from adapters.ssh.connecting import Session
from adapters.ssh.executing import decoded, execute
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.target import Limits

_VERSION_COMMAND: Final = ":put [/system resource get version]"
_VERSION = re.compile(rb"\s*(\d{1,2})\.([0-9A-Za-z.]{1,20})")
_HEADER = re.compile(rb"by RouterOS (\d{1,2})\.([0-9A-Za-z.]{1,20})")
_REFUSED: Final = (
    (b"not enough permissions", "the user has not enough permissions (policy)"),
    (b"no such item", "the command is not known there"),
    (b"bad command name", "the command is not known there"),
    (b"syntax error", "the command is not known there"),
    (b"expected end of command", "the command is not known there"),
    (b"expected command name", "the command is not known there"),
    (b"bad parameter", "the command is not known there"),
)
_FIRST_LINES: Final = 400


class Text(Struct, frozen=True):
    """A configuration as it came, and the system's version, if it is known."""

    text: str
    os_version: str | None


def export_command(major: int, *, secret_values: bool) -> str:
    """The command for a major version; 6 and older show secrets unless told to hide them."""
    if major >= 7:
        return "/export show-sensitive" if secret_values else "/export"
    return "/export" if secret_values else "/export hide-sensitive"


async def read_routeros(
    session: Session,
    limits: Limits,
    *,
    secret_values: bool,
    os_version: str | None,
    until: float,
) -> Text:
    """The export. Raises `DeviceUnread`; `incomplete` when its end did not come.

    `os_version` is what the device had last: then the export is asked for at once, and counts if
    its own header tells that the command was the right one.
    """
    known = _VERSION.match(os_version.encode()) if os_version else None
    if known is not None:
        found = await _guessed(session, limits, int(known[1]), secret_values, until)
        if found is not None:
            return found
    raw, _ = await execute(session.connection, _VERSION_COMMAND, limits, until=until)
    told = _VERSION.match(raw)
    if told is None:
        raise _refusal(raw) or DeviceUnread(
            "command_refused", "it does not tell its version as RouterOS does"
        )
    text = await _export(session, limits, int(told[1]), secret_values, until)
    return Text(decoded(text), _version(told))


async def _guessed(
    session: Session, limits: Limits, major: int, secret_values: bool, until: float
) -> Text | None:
    """The export by the command of a major version; None when the device has another one now."""
    try:
        text = await _export(session, limits, major, secret_values, until)
    except DeviceUnread as error:
        if error.kind != "command_refused":
            raise
        return None
    header = _HEADER.search(text[:_FIRST_LINES])
    if header is None or int(header[1]) != major:
        return None
    return Text(decoded(text), _version(header))


async def _export(
    session: Session, limits: Limits, major: int, secret_values: bool, until: float
) -> bytes:
    word = f"configtrail-{secrets.token_hex(8)}"
    command = export_command(major, secret_values=secret_values)
    raw, status = await execute(
        session.connection, f'{command}; :put "{word}"', limits, until=until
    )
    body = raw.rstrip()
    if body.endswith(word.encode()):
        return body[: -len(word)]
    told = "" if status in (None, 0) else f", and ended with status {status}"
    raise _refusal(raw) or DeviceUnread(
        "incomplete", f"the export broke off after {len(raw)} bytes{told}"
    )


def _version(found: re.Match[bytes]) -> str:
    return (found[1] + b"." + found[2]).decode()


def _refusal(raw: bytes) -> DeviceUnread | None:
    """What a short answer without the expected end means; None when it is no known refusal."""
    if len(raw) > _FIRST_LINES:
        return None
    lowered = raw.lower()
    for sign, meaning in _REFUSED:
        if sign in lowered:
            return DeviceUnread("command_refused", meaning)
    return None
