"""Private keys out of their text, once for each: the passphrase of one is made slow to try on
purpose, and a fleet that logs in with it would have to wait for that at every device."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Final

import asyncssh
from asyncssh import SSHKey

from adapters.ssh.failures import DeviceUnread
from adapters.ssh.key_rounds import too_many_rounds

_KEPT: Final = 256
# Not the event loop's own threads: others must not wait for keys.
_THREADS: Final = ThreadPoolExecutor(2, "private-key")


async def private_key(text: str, passphrase: str | None) -> SSHKey:
    """A key file's key. Raises `DeviceUnread` (no_credential), which quotes nothing of it."""
    # Shielded: who gives up must not take it from the others that wait for it.
    found = await asyncio.shield(asyncio.wrap_future(_reading(text, passphrase)))
    if isinstance(found, SSHKey):
        return found
    raise DeviceUnread(
        "no_credential", f"the private key can't be read ({found}): see to it and its passphrase"
    )


@lru_cache(_KEPT)
def _reading(text: str, passphrase: str | None) -> Future[SSHKey | str]:
    return _THREADS.submit(_read, text, passphrase)


def _read(text: str, passphrase: str | None) -> SSHKey | str:
    """The key, or why not: of an error its type, for the error itself may quote the key."""
    try:
        rounds = too_many_rounds(text)
        if rounds is not None:
            return f"its passphrase takes {rounds} rounds: set it anew by ssh-keygen -p -a 100"
        return asyncssh.import_private_key(text, passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        return type(error).__name__
