"""The events: what Configtrail says happened. One tagged union of frozen structs.

Rules of evolution: names here are published names, never Python paths; fields may be added when
they are optional; a changed meaning is a new type or version.
Invariant: no field ever holds configuration text, or a plain hash of it (a guessing oracle).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

UtcDatetime: TypeAlias = Annotated[datetime, Meta(tz=True)]
Source: TypeAlias = Literal["scheduled", "manual", "pushed", "imported"]
Completeness: TypeAlias = Literal["complete", "partial"]
RefusalReason: TypeAlias = Literal[
    "no_credentials",
    "bad_credentials",
    "expired",
    "revoked",
    "forbidden",
    "other_tenant",
    "too_many_requests",
]
BackupOutcome: TypeAlias = Literal[
    "succeeded", "duplicate", "failed", "locked", "timed_out", "interrupted"
]

ContentKind: TypeAlias = Literal["snapshot", "diff", "changes"]
ErasureScope: TypeAlias = Literal["device", "tenant"]
ActionKind: TypeAlias = Literal[
    "added", "removed", "changed", "moved", "enabled", "disabled", "other"
]
UnknownReason: TypeAlias = Literal[
    "none_listed",
    "history_too_short",
    "clock_off",
    "refused",
    "not_read",
    "not_understood",
    "arrived_late",
]

ACTOR = re.compile(r"(?:user|service|system):\S.{0,199}\Z", re.DOTALL)


class ContentRef(Struct, frozen=True, kw_only=True, gc=False):
    """Where encrypted content lives: a sequence of the content stream, and what must be there.

    `commitment` is SHA-256(salt ‖ text) in hex; the 32-byte salt lies inside the encrypted blob.
    """

    sequence: int
    commitment: str


class SnapshotRef(Struct, frozen=True, kw_only=True, gc=False):
    """A snapshot named by another event, with its content: enough to compare the two."""

    snapshot_id: str
    content: ContentRef


class SectionChange(Struct, frozen=True, kw_only=True, gc=False):
    """Logical lines added to and removed from one section, by count: never their text."""

    section: str
    added: int
    removed: int


class ChangeSummary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """So many changes of one kind in one section, by names that are known to be names.

    `kind` is added, removed, modified, renamed, enabled, disabled or moved; `properties` the names
    of those that changed, `risks` tags such as `input-chain`, `level` how the tenant wants it told.
    `after_upgrade`: the operating system was upgraded and writes a default differently now.
    """

    section: str
    kind: str
    count: int
    properties: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    level: str = "report"
    after_upgrade: bool = False


class Changer(Struct, frozen=True, kw_only=True, gc=False):
    """Somebody who changed something on a device, by the name that the device knows; None: it
    names nobody. When, by our clock, how often, and in which ways: never what."""

    who: str | None
    first_at: UtcDatetime
    last_at: UtcDatetime
    actions: int
    kinds: tuple[ActionKind, ...]


class Attribution(Struct, frozen=True, kw_only=True, gc=False):
    """Who changed a device since it was read before, by its own history: all whom that names.

    `known`: it reaches back to the reading before. `incomplete`: it does not, and others may have
    changed something too. `unknown`: nobody can be named, for this `reason`.
    """

    certainty: Literal["known", "incomplete", "unknown"]
    reason: UnknownReason | None = None
    people: tuple[Changer, ...] = ()


class DeviceSettings(Struct, frozen=True, kw_only=True):
    """How a device is to be read, with the defaults of its group filled in. Never a secret:
    `credential` only says where one lies (`env:NAME`, `file:PATH`, `store:NAME`, `vault:PATH`,
    `agent`). `jump` names the device that leads there; `window` is when readings may begin, in UTC.
    `history`: when it changed, it is asked who did that; `legacy`: weak ciphers and key exchanges
    are accepted of it.
    """

    addresses: tuple[str, ...]
    platform: str = "routeros"
    port: int = 22
    username: str | None = None
    credential: str | None = None
    group: str | None = None
    jump: str | None = None
    interval_seconds: int = 21_600
    timeout_seconds: int = 300
    window: str | None = None
    secret_values: bool = True
    enabled: bool = True
    history: bool = False
    legacy: bool = False


class GivenSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Those of a device's settings that somebody gave; None: not given. What they are is said at
    `DeviceSettings`."""

    platform: str | None = None
    port: int | None = None
    username: str | None = None
    credential: str | None = None
    jump: str | None = None
    interval_seconds: int | None = None
    timeout_seconds: int | None = None
    window: str | None = None
    secret_values: bool | None = None
    enabled: bool | None = None
    history: bool | None = None
    legacy: bool | None = None


class Fact(Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What every event says: who did it. `actor` is `user:…`, `service:…` or `system:…`."""

    actor: str

    def __post_init__(self) -> None:
        if not ACTOR.match(self.actor):
            raise ValueError("actor must be user:<id>, service:<name> or system:<role>")


class SnapshotCreated(Fact, frozen=True, kw_only=True, tag="SnapshotCreated"):
    """A configuration was seen that differs from its neighbours in the device's history.

    `fingerprint` is HMAC-SHA256 (hex) under the tenant's fingerprint key over the canonical form
    `canonical` (`<rules>/<version>`); `text_fingerprint` the same over the text's SHA-256.
    `successor` is set when the snapshot arrived late: it never was the current one.
    `author` is who made an imported version, in the words of where it came from. `changed_by` is
    who made the change, by the device's own history, where that was asked for.
    """

    observation_id: str
    snapshot_id: str
    fingerprint: str
    text_fingerprint: str
    canonical: str
    content: ContentRef
    size_bytes: int
    line_count: int
    collected_at: UtcDatetime
    platform: str
    source: Source
    completeness: Completeness
    os_version: str | None = None
    warnings: tuple[str, ...] = ()
    predecessor: SnapshotRef | None = None
    successor: SnapshotRef | None = None
    trigger_id: str | None = None
    author: str | None = None
    changed_by: Attribution | None = None


class DuplicateSkipped(Fact, frozen=True, kw_only=True, tag="DuplicateSkipped"):
    """An observation confirmed the snapshot `snapshot_id` unchanged at `collected_at`."""

    observation_id: str
    snapshot_id: str
    text_fingerprint: str
    collected_at: UtcDatetime
    source: Source
    late: bool = False
    trigger_id: str | None = None
    author: str | None = None


class DiffGenerated(Fact, frozen=True, kw_only=True, tag="DiffGenerated"):
    """What differs between two snapshots; the unified diff itself is encrypted content.

    Line counts come from the edit script over the texts; `sections` from the canonical forms.
    `coarse` says that a limit was hit and the diff replaces more than it had to.
    `changes` sum up the semantic difference by names only: entries, values and sentences, which are
    configuration text, are content at `changes_content` (redacted, JSON). `changes_more` counts
    changes that are in no summary, because there were too many kinds of them, and `sections_more`
    sections that are not in `sections`.
    """

    from_snapshot_id: str
    to_snapshot_id: str
    lines_added: int
    lines_removed: int
    content: ContentRef
    sections: tuple[SectionChange, ...] = ()
    coarse: bool = False
    sections_more: int = 0
    changes: tuple[ChangeSummary, ...] = ()
    changes_more: int = 0
    changes_content: ContentRef | None = None


class SnapshotRecanonicalised(Fact, frozen=True, kw_only=True, tag="SnapshotRecanonicalised"):
    """A snapshot's fingerprint under newer rules, worked out from its stored text.

    From here on readings are compared with this one. The snapshot's own event stays as it is.
    """

    snapshot_id: str
    fingerprint: str
    canonical: str
    previous_canonical: str


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


class DeviceConfigured(Fact, frozen=True, kw_only=True, tag="DeviceConfigured"):
    """The inventory says how a device is to be read, from now on. `origin` is where from.

    `settings` is what it came to when it was told. Whoever has `own` works it out anew whenever
    the device's group changes: `own` is what was given for the device itself and stands before all,
    then comes what its group gives, and then `fallback`, what its file gives for all its devices.
    Without `own` all settings are the device's own.
    """

    change_id: str
    settings: DeviceSettings
    origin: str | None = None
    own: GivenSettings | None = None
    fallback: GivenSettings | None = None


class DeviceRetired(Fact, frozen=True, kw_only=True, tag="DeviceRetired"):
    """A device is not read any more. Its history stays."""

    change_id: str
    reason: str | None = None


class GroupConfigured(Fact, frozen=True, kw_only=True, tag="GroupConfigured"):
    """What a group gives its devices, from now on, in place of all that it gave before."""

    change_id: str
    group: str
    defaults: GivenSettings
    origin: str | None = None
    reason: str | None = None


class GroupRemoved(Fact, frozen=True, kw_only=True, tag="GroupRemoved"):
    """A group gives its devices nothing any more."""

    change_id: str
    group: str
    reason: str | None = None


class CredentialSet(Fact, frozen=True, kw_only=True, tag="CredentialSet"):
    """A credential `store:<name>` was set. Recorded before it can be used; never what it is.

    `place` is where the secret lies: `store` (encrypted under the tenant's key), or the reference
    that it stands for (`env:NAME`, `file:PATH`, `vault:PATH`, `agent`). `holds` are the kinds of
    things in it, such as `password`. `rotated`: it took the place of one of that name.
    """

    change_id: str
    name: str
    place: str
    holds: tuple[str, ...] = ()
    rotated: bool = False
    reason: str | None = None


class CredentialRemoved(Fact, frozen=True, kw_only=True, tag="CredentialRemoved"):
    """A credential was removed. `used_by` counts the devices that name it still."""

    change_id: str
    name: str
    used_by: int = 0
    reason: str | None = None


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


class EventSkipped(Fact, frozen=True, kw_only=True, tag="EventSkipped"):
    """Somebody decided that a read model goes on without an event that it can't take in.

    `position` and `skipped_event_id` name that event, which stays in the log as it is.
    """

    projection: str
    position: int
    skipped_event_id: str
    reason: str | None = None


class ContentRevealed(Fact, frozen=True, kw_only=True, tag="ContentRevealed"):
    """Somebody was given a configuration, or a difference, with the secrets in it. Recorded before
    the text leaves. `from_snapshot_id`: it was the difference between that snapshot and this one.
    """

    reveal_id: str
    snapshot_id: str
    from_snapshot_id: str | None = None
    key_id: str | None = None
    remote_address: str | None = None
    reason: str | None = None


class AccessKeyCreated(Fact, frozen=True, kw_only=True, tag="AccessKeyCreated"):
    """A key of the API was made, for the tenant of this event, or for all when it is `_system`.

    `secret_hash` is SHA-256 (hex) of 256 random bits, which nobody can guess: from it keys are
    known again, and nothing else can be learnt. `permissions`: no more than these of its role.
    """

    key_id: str
    name: str
    role: str
    secret_hash: str
    permissions: tuple[str, ...] = ()
    expires_at: UtcDatetime | None = None


class AccessKeyRevoked(Fact, frozen=True, kw_only=True, tag="AccessKeyRevoked"):
    """A key of the API is not accepted any more."""

    key_id: str
    reason: str | None = None


class AccessRefused(Fact, frozen=True, kw_only=True, tag="AccessRefused"):
    """The API refused requests: `count` alike ones, from `first_at` to `last_at`, told at once.

    `actor` is whom they came from, `user:anonymous` where nobody knows. Without a `remote_address`
    they came from several: those beyond the bound on what is told apart.
    """

    refusal_id: str
    reason: RefusalReason
    count: int
    first_at: UtcDatetime
    last_at: UtcDatetime
    key_id: str | None = None
    permission: str | None = None
    remote_address: str | None = None


class RetentionPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which texts a tenant keeps: those that any of these keeps; without any, all.

    `days`: what held within so many days; `last`: so many newest ones; `daily`, `weekly`,
    `monthly`: what held at the end of each of so many last days, weeks (from Monday), months (UTC).
    """

    days: int | None = None
    last: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None


class GoneContent(Struct, frozen=True, kw_only=True, gc=False):
    """A content that is not kept any more."""

    kind: ContentKind
    content: ContentRef


class RetentionPolicySet(Fact, frozen=True, kw_only=True, tag="RetentionPolicySet"):
    """Which texts of a tenant are kept from now on. It is told of the tenant, not of a device."""

    change_id: str
    policy: RetentionPolicy
    reason: str | None = None


class LegalHoldPlaced(Fact, frozen=True, kw_only=True, tag="LegalHoldPlaced"):
    """No text of a device, or of a whole tenant, expires or is erased until it is released."""

    hold_id: str
    reason: str


class LegalHoldReleased(Fact, frozen=True, kw_only=True, tag="LegalHoldReleased"):
    """A legal hold ended."""

    hold_id: str
    reason: str


class ContentExpired(Fact, frozen=True, kw_only=True, tag="ContentExpired"):
    """A snapshot's text, and the differences that would tell of it, are not kept any more.

    Recorded before they are removed. `reason` is the policy that let them go, in words.
    """

    run_id: str
    snapshot_id: str
    contents: tuple[GoneContent, ...]
    reason: str


class ContentShredded(Fact, frozen=True, kw_only=True, tag="ContentShredded"):
    """All texts that were kept of a device were erased, by destroying the keys `key_ids` (hex).

    Recorded before that is done. It covers contents up to `content_until` in their stream; what is
    seen afterwards is kept under a new key. With the scope `tenant` it is one of many, or, told of
    the tenant, the end of the tenant's own key: then nothing more is taken for the tenant.
    """

    erasure_id: str
    scope: ErasureScope
    reason: str
    content_until: int
    key_ids: tuple[str, ...]


DomainEvent: TypeAlias = (
    SnapshotCreated
    | DuplicateSkipped
    | DiffGenerated
    | SnapshotRecanonicalised
    | ManualBackupTriggered
    | ManualBackupFinished
    | CollectionFailed
    | CollectionRecovered
    | DeviceConfigured
    | DeviceRetired
    | GroupConfigured
    | GroupRemoved
    | CredentialSet
    | CredentialRemoved
    | HostKeyPinned
    | HostKeyChanged
    | HostKeyReleased
    | EventSkipped
    | ContentRevealed
    | AccessKeyCreated
    | AccessKeyRevoked
    | AccessRefused
    | RetentionPolicySet
    | LegalHoldPlaced
    | LegalHoldReleased
    | ContentExpired
    | ContentShredded
)
# These are about no device: their branches are named as no device can be.
AccessEvent: TypeAlias = AccessKeyCreated | AccessKeyRevoked | AccessRefused
SetupEvent: TypeAlias = GroupConfigured | GroupRemoved | CredentialSet | CredentialRemoved
NO_DEVICE_EVENTS: tuple[type[Fact], ...] = (*get_args(AccessEvent), *get_args(SetupEvent))
EVENT_TYPES: tuple[type[Fact], ...] = get_args(DomainEvent)
EVENT_NAMES: tuple[str, ...] = tuple(event.__name__ for event in EVENT_TYPES)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[DomainEvent] = msgspec.json.Decoder(DomainEvent)


def event_name(event: Fact) -> str:
    """The event's published name, as in subjects: `SnapshotCreated`."""
    return type(event).__name__


def encode_event(event: DomainEvent) -> bytes:
    """The event's JSON body."""
    return _encoder.encode(event)


def decode_event(body: bytes) -> DomainEvent:
    """The event in a JSON body of today's version; raises `msgspec.DecodeError` or a subclass."""
    return _decoder.decode(body)
