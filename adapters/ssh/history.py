"""Asking RouterOS who changed it. Whatever comes of it, the configuration was read already."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from adapters.ssh.connecting import Session
from adapters.ssh.executing import decoded, execute
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.target import Limits
from domain.attribution import DeviceHistory
from domain.routeros.history import parse_history

_COMMAND: Final = (
    ":put [/system clock get date]; :put [/system clock get time]; "
    ":put [/system resource get uptime]; /system history print detail without-paging"
)
_SILENCE: Final = 10.0
_REFUSALS: Final = (b"not enough permissions", b"bad command name", b"no such item")
_FIRST_BYTES: Final = 400


async def read_history(session: Session, limits: Limits) -> DeviceHistory:
    """The device's history. Never raises `DeviceUnread`: what could not be read says so."""
    word = f"configtrail-{secrets.token_hex(8)}"
    patient = replace(limits, silence=min(limits.silence, _SILENCE))
    now = datetime.now(UTC)
    try:
        raw, _ = await execute(
            session.connection, f'{_COMMAND}; :put "{word}"', patient, until=session.until
        )
    except DeviceUnread:
        return DeviceHistory(unreadable="not_read")
    body = raw.rstrip()
    if any(one in body[:_FIRST_BYTES].lower() for one in _REFUSALS):
        return DeviceHistory(unreadable="refused")
    lines = decoded(body).splitlines()
    if len(lines) < 4 or not body.endswith(word.encode()):
        return DeviceHistory(unreadable="not_read")
    day, time, uptime = lines[:3]
    # Commands in it may be long: not on the loop.
    return await asyncio.to_thread(
        parse_history, "\n".join(lines[3:-1]), day=day, time=time, uptime=uptime, now=now
    )
