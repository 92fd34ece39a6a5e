"""Rows of snapshots, and what of them never changes as pages show it: JSON that stands ready.

To make that of a page's rows for each answer cost several times what else there is to do for it.
"""

from __future__ import annotations

from functools import lru_cache
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


class _Middle(Struct, frozen=True, gc=False):
    """A change's fields between whether the snapshot returned, and who asked for the backup."""

    late: bool
    completeness: str
    warnings: tuple[str, ...]
    source: str
    actor: str


class _ListedMiddle(Struct, frozen=True, gc=False):
    """A listed snapshot's fields between its sizes, and whether it is the current one."""

    platform: str
    os_version: str | None
    source: str
    completeness: str
    warnings: tuple[str, ...]
    late: bool


# These are the same for most snapshots.
@lru_cache(1_000)
def _middle(*values: Any) -> str:
    return fields_of(_Middle(*values))


@lru_cache(1_000)
def _listed_middle(*values: Any) -> str:
    return fields_of(_ListedMiddle(*values))


def _json(value: object) -> str:
    return "null" if value is None else json_of(value)


def snapshot_row(new: NewSnapshot) -> tuple[Any, ...]:
    """A snapshot that a batch creates, in the order of the columns."""
    stored, event, seen = new.stored, new.event, new.sightings
    late, size, lines = event.successor is not None, event.size_bytes, event.line_count
    platform, os_version = storable(event.platform), storable_or_none(event.os_version)
    warnings = tuple([storable(one) for one in event.warnings])
    actor, position = storable(event.actor), stored.position
    source, completeness, trigger_id = event.source, event.completeness, event.trigger_id
    predecessor = event.predecessor.snapshot_id if event.predecessor else None
    changed_by = None if event.changed_by is None else _storable_changers(event.changed_by)
    own_id, asked = json_of(event.snapshot_id), _json(trigger_id)
    sizes = f'"size_bytes":{size},"line_count":{lines}'
    return (
        stored.tenant_id,
        stored.device_id,
        event.snapshot_id,
        stored.version,
        position,
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
        f'"id":{json_of(change_id(event.snapshot_id, event.collected_at))},"snapshot_id":{own_id}',
        json_of(event.collected_at),
        _middle(late, completeness, warnings, source, actor),
        f'"changed_by":{_json(changed_by)},"trigger_id":{asked},{sizes},"position":{position}',
        f"{sizes},{_listed_middle(platform, os_version, source, completeness, warnings, late)}",
        f'"predecessor_id":{_json(predecessor)},"trigger_id":{asked},"actor":{json_of(actor)},'
        f'"position":{position},"version":{stored.version}',
        *(new.difference or _UNTOLD),
    )


def _storable_changers(attribution: Attribution) -> Any:
    people = tuple(replace(one, who=storable_or_none(one.who)) for one in attribution.people)
    return msgspec.to_builtins(replace(attribution, people=people))
