"""How reading devices went: backups that somebody asked for, failures, host keys."""

from __future__ import annotations

from typing import Literal, TypeAlias

from domain.events.fact import Fact, UtcDatetime
from domain.events.snapshots import Source

BackupOutcome: TypeAlias = Literal[
    "succeeded", "duplicate", "failed", "locked", "timed_out", "interrupted"
]


class ManualBackupTriggered(Fact, frozen=True, kw_only=True, tag="ManualBackupTriggered"):
    """Somebody asked for a backup now. Recorded before the device is contacted."""

    trigger_id: str
    remote_address: str | None = None
    reason: str | None = None


class ManualBackupFinished(Fact, frozen=True, kw_only=True, tag="ManualBackupFinished"):
    """How a manual backup ended. `snapshot_id` is the snapshot it made or confirmed.

    `interrupted`: the program that ran it ended, and nobody knows what became of the backup. In
    version 1 that was `failed`, as if the device had refused.
    """

    trigger_id: str
    outcome: BackupOutcome
    message: str | None = None
    snapshot_id: str | None = None


class CollectionFailed(Fact, frozen=True, kw_only=True, tag="CollectionFailed"):
    """A device could not be read. `kind` is a short class of failure such as `timeout`."""

    failure_id: str
    kind: str
    message: str
    attempted_at: UtcDatetime
    source: Source
    attempt: int = 1
    trigger_id: str | None = None


class CollectionRecovered(Fact, frozen=True, kw_only=True, tag="CollectionRecovered"):
    """A device that could not be read can be read again. `failures` is how often it could not."""

    recovery_id: str
    kind: str
    failures: int


class HostKeyPinned(Fact, frozen=True, kw_only=True, tag="HostKeyPinned"):
    """A device showed its host key for the first time (or after a release); no other is accepted
    from now on. `public_key` is the SSH wire form in base64, `fingerprint` as OpenSSH shows it."""

    change_id: str
    algorithm: str
    public_key: str
    fingerprint: str
    address: str


class HostKeyChanged(Fact, frozen=True, kw_only=True, tag="HostKeyChanged"):
    """A device showed another host key than the pinned one: it was sent no login, and is not
    talked to until a person releases the pinned key."""

    change_id: str
    algorithm: str
    fingerprint: str
    pinned_fingerprint: str
    address: str


class HostKeyReleased(Fact, frozen=True, kw_only=True, tag="HostKeyReleased"):
    """A person says that another host key may be pinned: that with `expected_fingerprint`, or
    without one, whichever the device shows next."""

    change_id: str
    reason: str
    expected_fingerprint: str | None = None
