"""A device's history as the API shows it."""

from __future__ import annotations

from projections.diffs.history import IN_SECTION, history_sql
from projections.diffs.words import COMPARING, FIRST, ShownDiff, fields_of
from projections.rows import NEWEST, Place, Reader
from projections.shown import (
    Page,
    boolean,
    fetch_page,
    fields,
    json_object,
    number,
    or_null,
    page_of,
    text,
    texts,
    time,
    word,
)

_COLUMNS = """
    s.position, s.late, s.completeness, s.source, s.actor, s.trigger_id, s.size_bytes,
    s.line_count, s.warnings, s.changed_by, d.told, d.told_of_incomplete, d.shown
"""
_TOLD = f"""
    CASE WHEN shown IS NULL THEN
             concat('"snapshot_id":', to_json(snapshot_id), ',"component":"","summary":"',
                    CASE WHEN previous_snapshot_id IS NULL THEN '{FIRST}' ELSE '{COMPARING}' END,
                    '"')
         WHEN 'partial' IN (completeness, previous_completeness) THEN told_of_incomplete
         ELSE told END
"""
_NO_DIFF = fields_of(ShownDiff(None, 0, 0, (), (), 0, False, None)).removesuffix("null")
_OF_DIFF = f"""
    CASE WHEN shown IS NULL THEN
             concat('{_NO_DIFF}', coalesce(to_json(previous_snapshot_id)::text, 'null'))
         ELSE shown END
"""

CHANGE = json_object(
    {
        "id": text("concat(snapshot_id, '.', extract(epoch FROM collected_at))"),
        "what it is told by": fields(_TOLD),
        "created_at": time("collected_at"),
        "valid_until": or_null(time("valid_until")),
        "its difference": fields(_OF_DIFF),
        "returned": boolean("returned"),
        "late": boolean("late"),
        "completeness": word("completeness"),
        "warnings": texts("warnings"),
        "source": word("source"),
        "actor": text("actor"),
        "asked_by": or_null(text("asked_by")),
        "changed_by": or_null(number("changed_by")),
        "trigger_id": or_null(text("trigger_id")),
        "size_bytes": number("size_bytes"),
        "line_count": number("line_count"),
        "position": number("position"),
    }
)


_KEY = ("text", "text", "timestamptz", "bigint")
_PLACE = {"collected_at": "timestamptz", "place": "bigint"}

SHOWN_HISTORY = page_of(
    "history",
    CHANGE,
    f"FROM ({history_sql(_COLUMNS, '', '$5::int + 1', '$6')}) AS change",
    takes=(*_KEY, "bigint", "bigint"),
    limit="$5::int",
    place=_PLACE,
)
SHOWN_HISTORY_OF_SECTION = page_of(
    "history_of_section",
    CHANGE,
    f"FROM ({history_sql(_COLUMNS, IN_SECTION, '$6::int + 1', '$7')}) AS change",
    takes=(*_KEY, "text", "bigint", "bigint"),
    limit="$6::int",
    place=_PLACE,
)
QUESTIONS = (SHOWN_HISTORY, SHOWN_HISTORY_OF_SECTION)


async def shown_history(
    reader: Reader,
    tenant_id: str,
    device_id: str,
    *,
    limit: int,
    offset: int = 0,
    section: str | None = None,
    before: Place | None = None,
) -> Page:
    """As `config_history`."""
    key = (tenant_id, device_id, *(before or NEWEST))
    if section is None:
        return await fetch_page(reader, SHOWN_HISTORY, *key, limit, offset)
    return await fetch_page(reader, SHOWN_HISTORY_OF_SECTION, *key, section, limit, offset)
