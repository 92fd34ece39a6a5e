"""The keys that an SSH agent holds: it signs with them, and they never leave it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncssh
from asyncssh import SSHKeyPair

from adapters.ssh.failures import DeviceUnread


@asynccontextmanager
async def agent_keys() -> AsyncIterator[Sequence[SSHKeyPair]]:
    """The keys of this program's agent, for as long as the block runs.

    Raises `DeviceUnread` (no_credential) when there is none, or none in it.
    """
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        raise _missing("SSH_AUTH_SOCK is not set where this program runs")
    try:
        agent = await asyncssh.connect_agent(path)
    except OSError as error:
        raise _missing(f"nobody answers at SSH_AUTH_SOCK ({type(error).__name__})") from error
    async with agent:
        try:
            keys = await agent.get_keys()
        except (OSError, ValueError) as error:
            raise _missing(f"it does not tell its keys ({type(error).__name__})") from error
        if not keys:
            raise _missing("it holds no key, or is locked: ssh-add")
        yield keys


def _missing(why: str) -> DeviceUnread:
    return DeviceUnread("no_credential", f"the SSH agent can't be used: {why}")
