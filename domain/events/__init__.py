"""The events: what Configtrail says happened. One tagged union of frozen structs.

Rules of evolution: names here are published names, never Python paths; fields may be added when
they are optional; a changed meaning is a new type or version.
Invariant: no field ever holds configuration text, or a plain hash of it (a guessing oracle).
"""

from __future__ import annotations

from typing import TypeAlias, get_args

import msgspec

from domain.events.access import (
    AccessKeyCreated,
    AccessKeyRevoked,
    AccessRefused,
    ContentRevealed,
    RefusalReason,
)
from domain.events.collecting import (
    BackupOutcome,
    CollectionFailed,
    CollectionRecovered,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    ManualBackupFinished,
    ManualBackupTriggered,
)
from domain.events.fact import ACTOR, ContentRef, Fact, SnapshotRef, UtcDatetime
from domain.events.inventory import (
    CredentialRemoved,
    CredentialSet,
    DeviceConfigured,
    DeviceRetired,
    DeviceSettings,
    GivenSettings,
    GroupConfigured,
    GroupRemoved,
)
from domain.events.keeping import (
    ContentExpired,
    ContentKind,
    ContentShredded,
    ErasureScope,
    GoneContent,
    LegalHoldPlaced,
    LegalHoldReleased,
    RetentionPolicy,
    RetentionPolicySet,
)
from domain.events.projecting import EventSkipped
from domain.events.snapshots import (
    ActionKind,
    Attribution,
    Changer,
    ChangeSummary,
    Completeness,
    DiffGenerated,
    DuplicateSkipped,
    SectionChange,
    SnapshotCreated,
    SnapshotRecanonicalised,
    Source,
    UnknownReason,
)

__all__ = [
    "ACTOR",
    "EVENT_NAMES",
    "EVENT_TYPES",
    "NO_DEVICE_EVENTS",
    "AccessEvent",
    "AccessKeyCreated",
    "AccessKeyRevoked",
    "AccessRefused",
    "ActionKind",
    "Attribution",
    "BackupOutcome",
    "ChangeSummary",
    "Changer",
    "CollectionFailed",
    "CollectionRecovered",
    "Completeness",
    "ContentExpired",
    "ContentKind",
    "ContentRef",
    "ContentRevealed",
    "ContentShredded",
    "CredentialRemoved",
    "CredentialSet",
    "DeviceConfigured",
    "DeviceRetired",
    "DeviceSettings",
    "DiffGenerated",
    "DomainEvent",
    "DuplicateSkipped",
    "ErasureScope",
    "EventSkipped",
    "Fact",
    "GivenSettings",
    "GoneContent",
    "GroupConfigured",
    "GroupRemoved",
    "HostKeyChanged",
    "HostKeyPinned",
    "HostKeyReleased",
    "LegalHoldPlaced",
    "LegalHoldReleased",
    "ManualBackupFinished",
    "ManualBackupTriggered",
    "RefusalReason",
    "RetentionPolicy",
    "RetentionPolicySet",
    "SectionChange",
    "SetupEvent",
    "SnapshotCreated",
    "SnapshotRecanonicalised",
    "SnapshotRef",
    "Source",
    "UnknownReason",
    "UtcDatetime",
    "decode_event",
    "encode_event",
    "event_name",
]

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
