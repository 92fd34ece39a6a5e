"""Private keys out of their text, once for each: the passphrase of one is made slow to try on
purpose, and a fleet that logs in with it would have to wait for that at every device."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Final, TypeAlias

import asyncssh
from asyncssh import SSHKey

from adapters.lookups import LookUps
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.key_rounds import too_many_rounds

_KEPT: Final = 256
_SLOW: Final = LookUps(2, "private-key")
# A key without a passphrase need not wait for those that have one.
_QUICK: Final = LookUps(1, "plain-private-key")
_Key: TypeAlias = tuple[str, str | None]
_readings: dict[_Key, _Reading] = {}


class _Reading:
    """A key that is read, or was, and how many wait for it."""

    def __init__(self, text: str, passphrase: str | None) -> None:
        threads = _QUICK if passphrase is None else _SLOW
        self.found: Future[SSHKey | str] = threads.begin(_read, text, passphrase)
        self.waiting = 0


async def private_key(text: str, passphrase: str | None) -> SSHKey:
    """A key file's key. Raises `DeviceUnread` (no_credential), which quotes nothing of it."""
    reading = _reading((text, passphrase))
    reading.waiting += 1
    try:
        # Shielded: who gives up must not take it from the others that wait for it.
        found = await asyncio.shield(asyncio.wrap_future(reading.found))
    finally:
        reading.waiting -= 1
        # What nobody waits for need not begin: others wait for its thread.
        if not reading.waiting and reading.found.cancel():
            _forget((text, passphrase), reading)
    if isinstance(found, SSHKey):
        return found
    raise DeviceUnread(
        "no_credential", f"the private key can't be read ({found}): see to it and its passphrase"
    )


def _reading(key: _Key) -> _Reading:
    """The one of a key; of many the one that was asked for longest ago is forgotten."""
    found = _readings.pop(key, None) or _Reading(*key)
    _readings[key] = found
    if len(_readings) > _KEPT:
        del _readings[next(iter(_readings))]
    return found


def _forget(key: _Key, reading: _Reading) -> None:
    if _readings.get(key) is reading:
        del _readings[key]


def _read(text: str, passphrase: str | None) -> SSHKey | str:
    """The key, or why not: of an error its type, for the error itself may quote the key."""
    try:
        rounds = too_many_rounds(text)
        if rounds is not None:
            return f"its passphrase takes {rounds} rounds: set it anew by ssh-keygen -p -a 100"
        return asyncssh.import_private_key(text, passphrase)
    except (ValueError, OverflowError, RecursionError) as error:  # asyncssh's own are ValueErrors
        return type(error).__name__
