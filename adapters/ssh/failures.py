"""Why a device could not be read, in classes that decide what happens next.

Invariant: no message quotes what a device said: that may be configuration.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from adapters.ssh.target import SILENCE_SECONDS, TOTAL_SECONDS
from domain.errors import ConfigtrailError

Kind: TypeAlias = Literal[
    "unresolvable",
    "unreachable",
    "timeout",
    "connection_lost",
    "protocol",
    "auth_failed",
    "no_credential",
    "host_key_changed",
    "command_refused",
    "incomplete",
    "too_large",
]

WAITS_FOR_A_PERSON: Final[frozenset[str]] = frozenset(
    ("auth_failed", "host_key_changed", "command_refused")
)
"""Trying these again changes nothing, and may lock an account or help an attacker. Not so where a
credential can't be had: no device is asked then, and a vault that was away comes back."""

TRIES_NEXT_ADDRESS: Final[frozenset[str]] = frozenset(
    ("unresolvable", "unreachable", "timeout", "connection_lost")
)


class DeviceUnread(ConfigtrailError):
    """A device could not be read. `kind` is its class, `reason` one short line for people."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def silent(seconds: float) -> DeviceUnread:
    """A device that sent nothing for so long."""
    # Up to a timeout of 5 minutes that is the same: a little longer one would change nothing.
    minutes = max(TOTAL_SECONDS, seconds * TOTAL_SECONDS / SILENCE_SECONDS) / 60
    return DeviceUnread(
        "timeout",
        f"it sent nothing for {seconds:g} s: one that has to think for longer needs a timeout of "
        f"more than {minutes:g} minutes, a tenth of which it may be silent",
    )


class OutOfTime(DeviceUnread):
    """A host did not answer in the time that the reading had left, which was less than it may take:
    this says nothing of the host."""

    def __init__(self, reason: str) -> None:
        super().__init__("timeout", reason)


class JumpHostRefused(DeviceUnread):
    """A host on the way refuses our login: a device behind it tries again by itself."""

    def __init__(self, reason: str) -> None:
        super().__init__("unreachable", reason)


class NoCommandTaken(DeviceUnread):
    """A device takes no command without a prompt; the connection stands."""
