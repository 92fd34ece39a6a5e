"""Compares what the read models, the content store and the dead letters tell with the fleet.

Only the fleet's own devices and its own broken message count: a tenant may hold more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from adapters.composition import System
from adapters.demo.fleet import SHOWN, TENANT, Expected, Fleet
from adapters.demo.player import letters_of
from adapters.reading import DiffText
from domain.diffing import text_diff
from projections.audit import AuditFilter, audit_page
from projections.backups import Device, get_device, list_snapshots, validity
from projections.diffs import list_diffs

_MANY = 1000


async def deviations(system: System, fleet: Fleet, shown: DiffText) -> list[str]:
    """What is not as it must be, each in a line; `shown` is the difference that was shown."""
    found = []
    for expected in fleet.expected:
        device = await get_device(system.pool, TENANT, expected.device_id)
        if device is None:
            found.append(f"{expected.device_id}: it is not known")
            continue
        found += [
            f"{expected.device_id}: {told}"
            for told in (
                *_compared(_facts(expected), _known(device)),
                *_compared(
                    {"validity ranges": _starts(expected), **_flags(expected)},
                    await _history(system, expected),
                ),
                *await _counts(system, expected),
                *await _texts(system, expected, device),
            )
        ]
    found += [f"{SHOWN}: {told}" for told in _shown(fleet.of(SHOWN), shown)]
    found += await _letter(system, fleet)
    return found


def _compared(expected: dict[str, object], known: dict[str, object]) -> Iterator[str]:
    for what, wanted in expected.items():
        if known[what] != wanted:
            yield f"{what}: expected {_told(wanted)}, found {_told(known[what])}"


def _told(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return ", ".join(_told(one) for one in value) or "none"
    return str(value)


def _facts(expected: Expected) -> dict[str, object]:
    return {
        "snapshots": expected.snapshots,
        "confirmations": expected.confirmations,
        "first seen": expected.began[0].collected_at,
        "last changed": expected.current.collected_at,
        "last seen": expected.newest.collected_at,
    }


def _known(device: Device) -> dict[str, object]:
    return {
        "snapshots": device.snapshots,
        "confirmations": device.confirmations,
        "first seen": device.first_seen,
        "last changed": device.last_changed,
        "last seen": device.last_seen,
    }


def _starts(expected: Expected) -> list[datetime]:
    return [reading.collected_at for reading in expected.began]


def _flags(expected: Expected) -> dict[str, object]:
    return {
        "late snapshots": [expected.late.collected_at] if expected.late else [],
        "partial snapshots": [expected.partial.collected_at] if expected.partial else [],
    }


async def _history(system: System, expected: Expected) -> dict[str, object]:
    ranges = await validity(system.pool, TENANT, expected.device_id, limit=_MANY)
    snapshots = await list_snapshots(system.pool, TENANT, expected.device_id, limit=_MANY)
    return {
        "validity ranges": [one.valid_from for one in reversed(ranges)],
        "late snapshots": [one.collected_at for one in snapshots if one.late],
        "partial snapshots": [
            one.collected_at for one in snapshots if one.completeness == "partial"
        ],
    }


async def _counts(system: System, expected: Expected) -> Iterator[str]:
    """Events by kind in the audit trail, differences, and what a partial export must not claim."""
    device_id = expected.device_id
    wanted: dict[str, object] = {
        "config_snapshot_created": expected.snapshots,
        "config_snapshot_skipped_duplicate": expected.confirmations,
        "config_diff_generated": expected.diffs,
    }
    known: dict[str, object] = {}
    for action in wanted:
        only = AuditFilter(device_id=device_id, action=action)
        known[action] = (await audit_page(system.pool, TENANT, only, limit=1)).total
    diffs = await list_diffs(system.pool, TENANT, device_id, limit=_MANY)
    wanted["differences"], known["differences"] = expected.diffs, len(diffs)
    if expected.partial is not None:
        snapshots = await list_snapshots(system.pool, TENANT, device_id, limit=_MANY)
        partial = {one.snapshot_id for one in snapshots if one.completeness == "partial"}
        wanted["sections told as changed by a partial export"] = []
        known["sections told as changed by a partial export"] = [
            change.section
            for diff in diffs
            if partial & {diff.from_snapshot_id, diff.to_snapshot_id}
            for change in diff.sections
        ]
    return _compared(wanted, known)


async def _texts(system: System, expected: Expected, device: Device) -> list[str]:
    if device.current_snapshot_id is None:
        return ["current configuration: there is none"]
    held = await system.reading.config_text(TENANT, expected.device_id, device.current_snapshot_id)
    if held.text == expected.current.text.encode():
        return []
    return ["current configuration: its text is not the one that was sent"]


def _shown(expected: Expected, shown: DiffText) -> Iterator[str]:
    before, after = (reading.text.encode() for reading in expected.began[-2:])
    diff = text_diff(before, after, before_label="before", after_label="after")
    return _compared(
        {
            "lines of the difference": (diff.lines_added, diff.lines_removed),
            "text of the difference": "as worked out here",
        },
        {
            "lines of the difference": (shown.lines_added, shown.lines_removed),
            "text of the difference": (
                "as worked out here" if shown.patch == diff.patch else "another"
            ),
        },
    )


async def _letter(system: System, fleet: Fleet) -> list[str]:
    letters = await letters_of(system, fleet.broken)
    wanted = [fleet.broken.field]
    named = [letter.field for letter in letters]
    if named == wanted:
        return []
    return [f"dead letters of the broken message: expected {_told(wanted)}, found {_told(named)}"]
