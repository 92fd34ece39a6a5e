"""Rows of snapshots, and what of them never changes as pages show it: JSON that stands ready.

To make that of a page's rows for each answer cost several times what else there is to do for it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.events import Attribution
from projections.backups.fold import NewSnapshot
from projections.rows import storable, storable_or_none
from projections.words import change_id, fields_of, json_of

SNAPSHOT_COLUMNS = (
    "tenant_id",
    "device_id",
    "snapshot_id",
    "version",
    "position",
    "collected_at",
    "first_seen",
    "last_confirmed",
    "confirmations",
    "fingerprint",
    "text_fingerprint",
    "commitment",
    "canonical",
    "content_sequence",
    "size_bytes",
    "line_count",
    "platform",
    "os_version",
    "source",
    "completeness",
    "warnings",
    "late",
    "predecessor_id",
    "successor_id",
    "trigger_id",
    "actor",
    "changed_by",
    "shown_begin",
    "shown_at",
    "shown_middle",
    "shown_end",
    "listed_middle",
    "listed_end",
    "differs_from",
    "difference_told",
    "difference_where",
    "difference_shown",
)

_UNTOLD = (None, None, None, None)


class _Begin(Struct, frozen=True, gc=False):
    """A change's first fields."""

    id: str
    snapshot_id: str


class _Middle(Struct, frozen=True, gc=False):
    """A change's fields between whether the snapshot returned, and who asked for the backup."""

    late: bool
    completeness: str
    warnings: list[str]
    source: str
    actor: str


class _End(Struct, frozen=True, gc=False):
    """A change's last fields."""

    changed_by: Any
    trigger_id: str | None
    size_bytes: int
    line_count: int
    position: int


class _ListedMiddle(Struct, frozen=True, gc=False):
    """A listed snapshot's fields between its confirmations, and whether it is the current one."""

    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    source: str
    completeness: str
    warnings: list[str]
    late: bool


class _ListedEnd(Struct, frozen=True, gc=False):
    """A listed snapshot's last fields, before whether its text is gone."""

    predecessor_id: str | None
    trigger_id: str | None
    actor: str
    position: int
    version: int


def snapshot_row(new: NewSnapshot) -> tuple[Any, ...]:
    """A snapshot that a batch creates, in the order of the columns."""
    stored, event, seen = new.stored, new.event, new.sightings
    late, size, lines = event.successor is not None, event.size_bytes, event.line_count
    platform, os_version = storable(event.platform), storable_or_none(event.os_version)
    warnings, actor = [storable(one) for one in event.warnings], storable(event.actor)
    source, completeness, trigger_id = event.source, event.completeness, event.trigger_id
    predecessor = event.predecessor.snapshot_id if event.predecessor else None
    changed_by = None if event.changed_by is None else _storable_changers(event.changed_by)
    return (
        stored.tenant_id,
        stored.device_id,
        event.snapshot_id,
        stored.version,
        stored.position,
        event.collected_at,
        seen.oldest,
        seen.newest,
        seen.count,
        event.fingerprint,
        event.text_fingerprint,
        event.content.commitment,
        event.canonical,
        event.content.sequence,
        size,
        lines,
        platform,
        os_version,
        source,
        completeness,
        warnings,
        late,
        predecessor,
        event.successor.snapshot_id if event.successor else None,
        trigger_id,
        actor,
        changed_by,
        fields_of(_Begin(change_id(event.snapshot_id, event.collected_at), event.snapshot_id)),
        json_of(event.collected_at),
        fields_of(_Middle(late, completeness, warnings, source, actor)),
        fields_of(_End(changed_by, trigger_id, size, lines, stored.position)),
        fields_of(
            _ListedMiddle(size, lines, platform, os_version, source, completeness, warnings, late)
        ),
        fields_of(_ListedEnd(predecessor, trigger_id, actor, stored.position, stored.version)),
        *(new.difference or _UNTOLD),
    )


def _storable_changers(attribution: Attribution) -> Any:
    people = tuple(replace(one, who=storable_or_none(one.who)) for one in attribution.people)
    return msgspec.to_builtins(replace(attribution, people=people))
