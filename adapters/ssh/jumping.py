"""Logins at jump hosts: how many at once, and what was refused.

A server drops logins when too many have begun (OpenSSH's at the 11th, by its default): a fleet
behind one has to take turns. And one login tells for all devices what was refused: if each tried,
a fleet would lock an account, or be banned, by as many wrong logins a round as it has devices.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeAlias

from adapters.ssh.failures import DeviceUnread, JumpHostRefused, OutOfTime
from adapters.ssh.target import Credential, Target, Trust

# What stands around a login at a jump host.
Jumping: TypeAlias = Callable[[Target], AbstractAsyncContextManager[None]]
# Each a little less than a device waits after a failure: the first to come again tries.
_WAITS: Final = (50.0, 4 * 60.0, 12 * 60.0, 45 * 60.0)
_KEPT: Final = 1024
# Half of OpenSSH's 10: on a busy machine it counts a login for a while after we are in, and other
# programs and people log in there as well.
AT_ONCE: Final = 5
# The same host elsewhere, or with another credential, may accept what this one refuses; and the
# same address is another host behind another one.
_Login: TypeAlias = tuple[tuple[str, ...], int, Credential, bool, "_Login | None"]
# And another one in another tenant's network, or when it is known by another key.
_Host: TypeAlias = tuple[str, Trust, _Login]


class _Known:
    """How a login went last. `is_open`: it was not refused, and all may try it at once."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(AT_ONCE)
        self.turn = asyncio.Lock()
        self.accepted = 0
        self.failed = 0
        self.failure: DeviceUnread | None = None
        self.is_open = False
        self.refusals = 0  # in a row
        self.refusals_ever = 0
        self.reason = ""
        self.until = 0.0

    def refused(self, reason: str, now: float) -> None:
        """Of several that were on their way, or that somebody insisted on, one counts."""
        if self.is_open or now >= self.until:
            self.until = now + _WAITS[min(self.refusals, len(_WAITS) - 1)]
            self.refusals += 1
        self.refusals_ever += 1
        self.is_open, self.reason = False, reason

    def went_wrong(self, failure: DeviceUnread) -> None:
        """It failed, but was not refused."""
        if isinstance(failure, JumpHostRefused):
            return  # by the host before it: this one was not asked
        if isinstance(failure, OutOfTime):
            return  # of the device's, which says nothing of the host
        # What was refused is open again when it is accepted, and not for being out of reach once.
        self.is_open = self.is_open or not self.refusals
        self.failed += 1
        # Another one: this would keep alive whatever it went through.
        self.failure = DeviceUnread(failure.kind, failure.reason)

    def went_well(self) -> None:
        """It was accepted."""
        self.is_open, self.refusals = True, 0
        self.accepted += 1


class JumpHosts:
    """The logins at jump hosts that one program tries."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[_Host, _Known] = {}

    @asynccontextmanager
    async def trying(self, host: Target, *, tenant_id: str, insists: bool) -> AsyncIterator[None]:
        """Around a login at a jump host of a tenant. Raises `DeviceUnread` (auth_failed) in its
        place where it was refused a short while ago, unless somebody `insists` who came after that.

        A login that was refused last, or that nobody has tried, is tried by one, and who comes
        meanwhile waits for the outcome. Whatever that is but a refusal, all others may try then,
        a few at a time; of one that was refused before, when it is accepted. Who waits while that
        fails for as many in a row need not try as well.
        """
        known = self._of(tenant_id, host)
        accepted, failed = known.accepted, known.failed
        refused = known.refusals_ever
        async with known.places:
            if known.accepted == accepted and known.failed - failed >= AT_ONCE:
                assert known.failure is not None
                raise DeviceUnread(known.failure.kind, known.failure.reason)
            async with self._in_turn(known, refused if insists else None):
                yield

    @asynccontextmanager
    async def _in_turn(self, known: _Known, insists_after: int | None) -> AsyncIterator[None]:
        alone = not known.is_open and await known.turn.acquire()
        if alone and known.is_open:
            known.turn.release()
            alone = False
        try:
            insists = insists_after == known.refusals_ever
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
                    known.went_wrong(error)
                raise
            known.went_well()
        finally:
            if alone:
                known.turn.release()

    def _of(self, tenant_id: str, host: Target) -> _Known:
        """What is known of a login; of many the one that was asked for longest ago is forgotten."""
        login = _login(host)
        found = self._known.pop((tenant_id, host.trust, login), None)
        for before in _before_it_was_pinned(host.trust):
            found = found or self._known.pop((tenant_id, before, login), None)
        known = found or _Known()
        self._known[tenant_id, host.trust, login] = known
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        return known


def _before_it_was_pinned(trust: Trust) -> tuple[Trust, ...]:
    """What a host was trusted by when it showed the key that is pinned now, also if that login was
    refused."""
    if trust.pinned is None:
        return ()
    return Trust(), Trust(expected=trust.pinned.fingerprint)


def _login(host: Target) -> _Login:
    over = None if host.via is None else _login(host.via)
    return host.addresses, host.port, host.credential, host.legacy, over
