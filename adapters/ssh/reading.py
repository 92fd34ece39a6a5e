"""Reading one device: log in, let its platform's reader work, log out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from adapters.ssh.connecting import Seen, Session, logged_in
from adapters.ssh.history import read_history
from adapters.ssh.jumping import Jumping
from adapters.ssh.profiles import ROUTEROS, profile_of
from adapters.ssh.routeros import Text, read_routeros
from adapters.ssh.target import Target
from domain.attribution import DeviceHistory


class Reading(Struct, frozen=True, kw_only=True):
    """A configuration that was read. `platform` is what the text is, for the intake."""

    text: str
    platform: str
    os_version: str | None
    address: str
    history: DeviceHistory | None = None


async def read_device(
    target: Target,
    platform: str,
    seen: Seen,
    *,
    secret_values: bool = True,
    os_version: str | None = None,
    asks_history: Callable[[str], Awaitable[bool]] | None = None,
    jumping: Jumping | None = None,
) -> Reading:
    """The device's configuration. Raises `adapters.ssh.failures.DeviceUnread`.

    `os_version` is what it had last, as far as known: it saves a question. `asks_history` decides,
    by the text, whether RouterOS is asked who changed it; that this fails is no failure. `seen`
    holds, whatever comes, the host keys that were shown. `jumping` as for `logged_in`.
    """
    until = asyncio.get_running_loop().time() + target.limits.total
    async with logged_in(target, seen, until, jumping) as session:
        found = await _read(session, target, platform, secret_values, os_version)
        history = None
        if platform == ROUTEROS and asks_history is not None and await asks_history(found.text):
            history = await read_history(session, target.limits)
        return Reading(
            text=found.text,
            platform=platform if platform == ROUTEROS else profile_of(platform).text_kind,
            os_version=found.os_version,
            address=session.address,
            history=history,
        )


async def _read(
    session: Session,
    target: Target,
    platform: str,
    secret_values: bool,
    os_version: str | None,
) -> Text:
    if platform == ROUTEROS:
        return await read_routeros(
            session,
            target.limits,
            secret_values=secret_values,
            os_version=os_version,
            until=session.until,
        )
    return await profile_of(platform).read(
        session, target.limits, session.until, enable=target.credential.enable
    )
