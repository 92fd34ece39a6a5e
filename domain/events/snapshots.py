"""What was seen of devices: snapshots, differences, and who made them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from domain.events.fact import ContentRef, Fact, SnapshotRef, UtcDatetime

Source: TypeAlias = Literal["scheduled", "manual", "pushed", "imported"]
Completeness: TypeAlias = Literal["complete", "partial"]
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
