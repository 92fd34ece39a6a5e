"""A device's history as the API shows it."""

from __future__ import annotations

from projections.questions import Question
from projections.rows import NEWEST, Place, Reader
from projections.shown import BETWEEN_SQL, Page, fetch_page
from projections.words import COMPARING, FIRST, OF_INCOMPLETE, UNTOLD, ShownDiff, fields_of

_TOLD = f"""
    CASE WHEN previous_snapshot_id IS NULL THEN '"component":"","summary":"{FIRST}"'
         WHEN differs_from IS NULL THEN '"component":"","summary":"{COMPARING}"'
         WHEN completeness = 'partial' OR previous_completeness = 'partial'
         THEN difference_told || '{OF_INCOMPLETE}' || difference_where || '{UNTOLD}"'
         ELSE difference_told || difference_where || '"' END
"""
_NO_DIFF = fields_of(ShownDiff(None, 0, 0, (), (), 0, False, None)).removesuffix("null")
_OF_DIFF = f"""
    CASE WHEN previous_snapshot_id IS NULL THEN '{_NO_DIFF}null'
         WHEN differs_from IS NULL THEN '{_NO_DIFF}' || to_json(previous_snapshot_id)::text
         ELSE difference_shown END
"""

# `||` of texts is several times as fast as `concat`, which looks each of them up as it does values
# of any type.
_CHANGE = f"""
    '{{' || shown_begin || ',' || {_TOLD} || ',"created_at":' || shown_at
    || ',"valid_until":' || coalesce(valid_until, 'null') || ',' || {_OF_DIFF}
    || CASE WHEN collected_at > first_seen THEN ',"returned":true,' ELSE ',"returned":false,' END
    || shown_middle || ',"asked_by":'
    || CASE WHEN asked_by IS NULL THEN 'null' ELSE to_json(asked_by)::text END
    || ',' || shown_end || '}}'
"""
# The change that holds at the place, the last one of the page before, is not listed again.
_LEFT_OUT = f"($6 + ($4 <> {NEWEST[1]})::int)"
_MOST = f"$5 + 1 + {_LEFT_OUT}"
_BACK = """
    WHERE tenant_id = $1 AND device_id = $2 AND (collected_at, position) <= ($3, $4)
"""
_NEWEST_FIRST = "ORDER BY collected_at DESC, position DESC"

# Nearly always each snapshot began to hold when it was collected, and holds until the next one was:
# then the page is one way along an index of snapshots, in which all stands that is shown. Whether
# it is so is what the changes' own index says, where a late arrival can have put some between, and
# whether what stands there is about the two that follow each other. Else no number of them is told.
SHOWN_HISTORY = Question(
    "history",
    ("text", "text", "timestamptz", "bigint", "bigint", "bigint"),
    ("text", "bigint", "timestamptz", "bigint"),
    f"""
        SELECT string_agg(item, {BETWEEN_SQL}) FILTER (WHERE number > {_LEFT_OUT}),
               CASE WHEN count(item) = count(*) AND coalesce(array_agg(position), '{{}}') = ARRAY(
                   SELECT position FROM configtrail.observations {_BACK} AND starts_run
                   {_NEWEST_FIRST} LIMIT {_MOST}
               ) THEN count(item) END,
               max(collected_at) FILTER (WHERE number = {_LEFT_OUT} + $5),
               max(position) FILTER (WHERE number = {_LEFT_OUT} + $5)
        FROM (
            SELECT collected_at, position, number, CASE
                       WHEN number - {_LEFT_OUT} NOT BETWEEN 1 AND $5 THEN ''
                       WHEN differs_from IS DISTINCT FROM previous_snapshot_id
                           AND differs_from IS NOT NULL THEN NULL
                       ELSE {_CHANGE} END AS item
            FROM (
                SELECT *, row_number() OVER newest_first AS number,
                       lead(snapshot_id) OVER newest_first AS previous_snapshot_id,
                       lead(completeness) OVER newest_first AS previous_completeness,
                       lag(shown_at) OVER newest_first AS valid_until,
                       CASE WHEN trigger_id IS NOT NULL THEN (
                           SELECT t.actor FROM configtrail.triggers t
                           WHERE t.tenant_id = $1 AND t.device_id = $2
                             AND t.trigger_id = s.trigger_id
                       ) END AS asked_by
                FROM configtrail.snapshots s {_BACK}
                WINDOW newest_first AS ({_NEWEST_FIRST})
                {_NEWEST_FIRST} LIMIT {_MOST}
            ) AS listed
        ) AS page
    """,
)
QUESTIONS = (SHOWN_HISTORY,)


async def shown_history(
    reader: Reader,
    tenant_id: str,
    device_id: str,
    *,
    limit: int,
    offset: int = 0,
    before: Place | None = None,
) -> Page | None:
    """As `config_history`, of all sections; None for a page that does not stand ready, which that
    one tells. Of an item behind the page nothing is told but that it is there."""
    place = before or NEWEST
    page = await fetch_page(reader, SHOWN_HISTORY, tenant_id, device_id, *place, limit, offset)
    return None if page.total is None else page
