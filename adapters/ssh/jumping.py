"""What jump hosts refused: one login tells it for all devices behind one. If each tried, a fleet
would lock an account, or be banned, by as many wrong logins a round as it has devices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeAlias

from adapters.ssh.failures import DeviceUnread
from adapters.ssh.target import Credential, Target

# What stands around a login at a jump host.
Jumping: TypeAlias = Callable[[Target], AbstractAsyncContextManager[None]]
# Each a little less than a device waits after a failure: the first to come again tries.
_WAITS: Final = (50.0, 4 * 60.0, 12 * 60.0, 45 * 60.0)
_KEPT: Final = 1024
# The same host elsewhere, or with another credential, may accept what this one refuses.
_Login: TypeAlias = tuple[tuple[str, ...], int, Credential]


class _Known:
    """How a login went last. `is_open`: it was not refused, and all may try it at once."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.is_open = False
        self.refusals = 0
        self.reason = ""
        self.until = 0.0

    def refused(self, reason: str, now: float) -> None:
        """Of several that were on their way, or that somebody insisted on, one counts."""
        if self.is_open or now >= self.until:
            self.until = now + _WAITS[min(self.refusals, len(_WAITS) - 1)]
            self.refusals += 1
        self.is_open, self.reason = False, reason


class JumpHosts:
    """The logins at jump hosts that one program tries."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[_Login, _Known] = {}

    @asynccontextmanager
    async def trying(self, host: Target, *, insists: bool) -> AsyncIterator[None]:
        """Around a login at a jump host. Raises `DeviceUnread` (auth_failed) in its place where it
        was refused a short while ago, unless somebody `insists`.

        A login that was refused last, or that nobody has tried, is tried by one, and who comes
        meanwhile waits for the outcome. Whatever that is but a refusal, all others may try then.
        """
        known = self._of(host)
        alone = not known.is_open and await known.turn.acquire()
        if alone and known.is_open:
            known.turn.release()
            alone = False
        try:
            if alone and not insists and self._clock() < known.until:
                raise DeviceUnread(
                    "auth_failed",
                    f"{known.reason}; it is not asked by each device behind it, but again in a "
                    "while, and by a manual backup at once",
                )
            try:
                yield
            except DeviceUnread as error:
                if error.kind == "auth_failed":
                    known.refused(error.reason, self._clock())
                else:
                    known.is_open = True
                raise
            known.is_open, known.refusals = True, 0
        finally:
            if alone:
                known.turn.release()

    def _of(self, host: Target) -> _Known:
        """What is known of a login; of many the one that was asked for longest ago is forgotten."""
        login = (host.addresses, host.port, host.credential)
        known = self._known.pop(login, None) or _Known()
        self._known[login] = known
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        return known
