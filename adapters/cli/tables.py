"""Listings as tables. Every text in them came from outside and is made harmless."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from rich.table import Table
from rich.text import Text

from adapters.cli.console import harmless
from adapters.importing.importer import Imported
from adapters.importing.sending import Refused
from adapters.jetstream.dead_letters import DeadLetter
from adapters.roles.recanonicaliser import Recanonicalised
from adapters.shapes.history import untold
from domain.events import Attribution
from projections.audit import AuditEntry
from projections.backups import Device, Validity
from projections.diffs import HistoryEntry
from projections.fleet import Member

SHORT_ID = 8
_MOST_SECTIONS = 3
_WHY_UNKNOWN = {
    "none_listed": "the device lists nobody",
    "history_too_short": "the device does not remember this far back",
    "clock_off": "the device's clock is off",
    "refused": "the device does not show its history to this login",
    "not_read": "the device's history did not come",
    "not_understood": "the device's history is of a form that is not known",
    "arrived_late": "it arrived late",
    None: "no reason given",
}
_COUNTS = ("READINGS", "CREATED", "DUPLICATES", "REFUSED", "KNOWN BEFORE", "DIFFS")


def when(moment: datetime | None) -> str:
    """A time in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if moment else "-"


def cell(text: object, style: str = "") -> Text:
    """A cell with exactly this text, whatever it holds."""
    return Text(harmless(str(text)).replace("\n", "\\n").replace("\t", " "), style=style)


def table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table; `numbers` are the columns that stand to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def devices_table(devices: Iterable[Device]) -> Table:
    """Who is there, how fresh, since when."""
    made = table(
        "DEVICE",
        "SYSTEM",
        "VERSIONS",
        "CONFIRMED",
        "SINCE",
        "LAST SEEN",
        "STATE",
        numbers=("VERSIONS", "CONFIRMED"),
    )
    for one in devices:
        system = " ".join(filter(None, (one.platform, one.os_version)))
        state = cell("ok", "green")
        if one.failing:
            state = cell(f"failing: {one.last_failure_kind}", "red")
        elif one.last_seen is None:
            state = cell("never read", "yellow")
        made.add_row(
            cell(one.device_id, "bold"),
            cell(system or "-"),
            cell(one.snapshots),
            cell(one.confirmations),
            cell(when(one.last_changed)),
            cell(when(one.last_seen)),
            state,
        )
    return made


def fleet_table(members: Iterable[Member]) -> Table:
    """Who waits longest for a backup first."""
    made = table("DEVICE", "AGE", "LAST BACKUP", "LAST CHANGE", "LAST FAILURE", "UNDER WAY SINCE")
    for one in members:
        failed = one.last_failure_at and (
            not one.last_backup or one.last_failure_at > one.last_backup
        )
        failure = f"{when(one.last_failure_at)} {one.last_failure_kind}" if failed else "-"
        name = f"{one.device_id} (retired)" if one.retired else one.device_id
        made.add_row(
            cell(name, "bold"),
            cell(_age(one.age)),
            cell(when(one.last_backup)),
            cell(when(one.last_change)),
            cell(failure, "red" if failed else ""),
            cell(when(one.open_since)),
        )
    return made


def _age(age: timedelta | None) -> str:
    """The two largest units of it."""
    if age is None:
        return "never read"
    minutes = max(0, int(age.total_seconds())) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"


def history_table(
    entries: Iterable[HistoryEntry], words: Mapping[tuple[str | None, str], str] | None = None
) -> Table:
    """A device's timeline, newest first. `words`: what changed, by the two snapshots."""
    made = table("FROM", "UNTIL", "SNAPSHOT", "+", "-", "WHAT", "NOTES", numbers=("+", "-"))
    for one in entries:
        diff = one.diff
        told = (words or {}).get((one.previous_snapshot_id, one.snapshot_id))
        made.add_row(
            cell(when(one.collected_at)),
            cell(when(one.valid_until) if one.valid_until else "now"),
            cell(one.snapshot_id[:SHORT_ID], "cyan"),
            cell(diff.lines_added if diff else "", "green"),
            cell(diff.lines_removed if diff else "", "red"),
            cell(f"{told or _where(one)}{untold(one)}"),
            cell(", ".join(_notes(one)), "yellow"),
        )
    return made


def _where(entry: HistoryEntry) -> str:
    if entry.previous_snapshot_id is None:
        return f"first configuration, {entry.line_count} lines"
    if entry.diff is None:
        return "being compared"
    names = entry.diff.places
    more = len(names) - _MOST_SECTIONS
    return ", ".join(names[:_MOST_SECTIONS]) + (f" and {more} more" if more > 0 else "")


def _notes(entry: HistoryEntry) -> list[str]:
    notes = []
    if entry.late:
        notes.append("arrived late")
    if entry.returned:
        notes.append("back to an earlier one")
    if entry.completeness != "complete":
        notes.append(entry.completeness)
    elif entry.of_incomplete and entry.diff is not None:
        notes.append("lines counted after a partial one")
    if entry.warnings:
        more = len(entry.warnings) - 1
        notes.append(f"{entry.warnings[0]} (and {more} more)" if more else entry.warnings[0])
    if entry.asked_by:
        notes.append(f"asked for by {entry.asked_by}")
    if entry.changed_by is not None:
        notes.append(changed_by_words(entry.changed_by))
    return notes


def changed_by_words(found: Attribution) -> str:
    """Who made a change, or that nobody knows."""
    if not found.people:
        return f"changed by: unknown ({_WHY_UNKNOWN[found.reason]})"
    names = ", ".join(one.who or "nobody by name" for one in found.people)
    return f"changed by {names}{' and perhaps others' if found.certainty != 'known' else ''}"


def audit_table(entries: Iterable[AuditEntry]) -> Table:
    """Who did what, newest first."""
    made = table("WHEN", "POSITION", "ACTOR", "ACTION", "DEVICE", "RESOURCE", numbers=("POSITION",))
    for one in entries:
        made.add_row(
            cell(when(one.occurred_at)),
            cell(one.position),
            cell(one.actor),
            cell(one.action, "bold"),
            cell(one.device_id),
            cell(f"{one.resource_type} {one.resource_id[:SHORT_ID]}"),
        )
    return made


def letters_table(letters: Iterable[DeadLetter]) -> Table:
    """What could not be recorded, and why, newest first."""
    made = table(
        "NUMBER",
        "RECEIVED",
        "FROM",
        "TENANT",
        "DEVICE",
        "BYTES",
        "REASON",
        numbers=("NUMBER", "BYTES"),
    )
    for one in letters:
        made.add_row(
            cell(one.sequence),
            cell(when(one.received_at)),
            cell(one.origin),
            cell(one.tenant_id or "-"),
            cell(one.device_id or "-"),
            cell(one.size_bytes),
            cell(f"{one.field}: {one.rule}", "red"),
        )
    return made


def imported_table(done: Imported) -> Table:
    """What became of imported readings, by number."""
    made = table(*_COUNTS, numbers=_COUNTS)
    diffs = f"{done.diffs} ({done.diffs_failed} failed)" if done.diffs_failed else str(done.diffs)
    made.add_row(
        cell(done.readings),
        cell(done.created, "green"),
        cell(done.duplicates),
        cell(len(done.refused), "red" if done.refused else ""),
        cell(done.known),
        cell(diffs),
    )
    return made


def refused_table(refused: Iterable[Refused]) -> Table:
    """Readings that became no fact, and why."""
    made = table("REFUSED", "DEAD LETTER", "REASON", numbers=("DEAD LETTER",))
    for one in refused:
        made.add_row(
            cell(one.where), cell(one.letter or "-"), cell(f"{one.field}: {one.rule}", "red")
        )
    return made


def recanonicalised_table(done: Iterable[tuple[str, Recanonicalised]]) -> Table:
    """What became of devices' fingerprints, by number."""
    columns = ("SNAPSHOTS", "RENEWED", "ALREADY", "WITHOUT TEXT", "SAME AS BEFORE")
    made = table("DEVICE", *columns, numbers=columns)
    for device_id, one in done:
        made.add_row(
            cell(device_id, "bold"),
            cell(one.snapshots),
            cell(one.renewed, "green"),
            cell(one.already),
            cell(one.missing, "yellow" if one.missing else ""),
            cell(one.alike),
        )
    return made


def validity_table(ranges: Iterable[tuple[str, Sequence[Validity]]]) -> Table:
    """When which configuration held, device by device, oldest first."""
    made = table("DEVICE", "SNAPSHOT", "FROM", "LAST CONFIRMED", "UNTIL")
    for device_id, stretches in ranges:
        for number, one in enumerate(stretches):
            made.add_row(
                cell("" if number else device_id, "bold"),
                cell(one.snapshot_id[:SHORT_ID], "cyan"),
                cell(when(one.valid_from)),
                cell(when(one.confirmed_until)),
                cell(when(one.valid_until) if one.valid_until else "now"),
            )
    return made
