"""A timeline in words: what it says of changes that may not be told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console

from adapters.cli.tables import history_table
from adapters.shapes.history import history_out
from domain.events import ChangeSummary, Completeness, SectionChange
from projections.diffs import HistoryDiff, HistoryEntry
from projections.words import UNTOLD


def entry(
    before: Completeness | None,
    after: Completeness,
    *,
    compared: bool = True,
    sections: tuple[SectionChange, ...] = (),
    summaries: tuple[ChangeSummary, ...] = (),
) -> HistoryEntry:
    diff = HistoryDiff(
        lines_added=1,
        lines_removed=1,
        coarse=False,
        content_sequence=1,
        summaries=summaries,
        summaries_more=0,
        changes_sequence=None,
        changes_commitment=None,
        sections=sections,
    )
    return HistoryEntry(
        device_id="edge",
        snapshot_id="b" * 64,
        previous_snapshot_id="a" * 64 if before else None,
        collected_at=datetime(2026, 3, 1, tzinfo=UTC),
        valid_until=None,
        place=1,
        position=1,
        version=1,
        diff=diff if before and compared else None,
        returned=False,
        late=False,
        completeness=after,
        previous_completeness=before,
        warnings=(),
        source="imported",
        actor="user:ann",
        asked_by=None,
        changed_by=None,
        trigger_id=None,
        size_bytes=1,
        line_count=1,
        platform="routeros",
        os_version=None,
    )


def in_table(one: HistoryEntry, told: str = "ip dns: servers changed") -> str:
    console = Console(width=400)
    words = {(one.previous_snapshot_id, one.snapshot_id): told}
    with console.capture() as captured:
        console.print(history_table([one], words))
    return captured.get()


@pytest.mark.parametrize(
    ("before", "after"),
    [("complete", "partial"), ("partial", "complete"), ("partial", "partial")],
)
def test_beside_an_incomplete_text_it_is_said_that_changes_may_be_untold(
    before: Completeness, after: Completeness
) -> None:
    one = entry(before, after)
    assert history_out(one).summary.endswith(UNTOLD)
    assert f"ip dns: servers changed{UNTOLD}" in in_table(one)


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(entry("complete", "complete"), id="both complete"),
        pytest.param(entry(None, "partial"), id="the first"),
        pytest.param(entry("complete", "partial", compared=False), id="not compared yet"),
    ],
)
def test_elsewhere_it_is_not_said(one: HistoryEntry) -> None:
    assert UNTOLD not in history_out(one).summary
    assert UNTOLD not in in_table(one)


def moved(*sections: str) -> tuple[ChangeSummary, ...]:
    return tuple(ChangeSummary(section=one, kind="moved", count=1) for one in sections)


def test_what_was_only_moved_is_told_by_where_it_is() -> None:
    names = ("/ip firewall filter", "/ip firewall nat", "/ip firewall filter", "/queue", "/mpls")
    one = entry("complete", "complete", summaries=moved(*names))
    shown = history_out(one)
    where = "/ip firewall filter, /ip firewall nat, /queue and 1 more"
    assert (shown.component, shown.sections) == ("/ip firewall filter", [])
    assert shown.summary == f"+1 -1 lines in {where}"
    assert where in in_table(one, told="")


def test_where_lines_are_counted_they_say_where() -> None:
    counted = (SectionChange(section="/ip dns", added=1, removed=1),)
    one = entry("complete", "complete", sections=counted, summaries=moved("/queue"))
    shown = history_out(one)
    assert (shown.component, shown.summary) == ("/ip dns", "+1 -1 lines in /ip dns")
    assert "/ip dns" in in_table(one, told="")


def test_what_is_told_without_a_section_is_in_none() -> None:
    shown = history_out(entry("complete", "complete", summaries=moved("")))
    assert (shown.component, shown.summary) == ("", "+1 -1 lines in no section")
