"""Why a read model is not ready, in words that say what to do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.http.lag import Lag, judge
from projections.rebuilds import Rebuild

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def waiting(version: int, error: str | None = None) -> Lag:
    """Live rows of version 1 under a program of version 2, and a rebuild of a version."""
    build = Rebuild(
        projection="audit",
        version=version,
        stream="EVENTS",
        stream_created=NOW,
        position=3,
        tables=("audit",),
        build=1,
        started_at=NOW,
        error=error,
    )
    return Lag(
        name="audit",
        position=9,
        head=9,
        oldest_missing=None,
        now=NOW,
        version=2,
        live_version=1,
        rebuild=build,
    )


@pytest.mark.parametrize("error", [None, "event 4 can't be taken in"])
def test_a_rebuild_of_a_newer_program_says_how_it_ends_when_that_was_rolled_back(
    error: str | None,
) -> None:
    told = judge(waiting(3, error))
    assert told is not None
    assert "version 2 of the projection audit is not being built" in told
    assert "has begun to build version 3" in told
    assert "if it was rolled back, run configtrail projections rebuild audit --cancel" in told


def test_a_rebuild_of_this_program_says_how_far_it_is_or_why_it_stopped() -> None:
    assert judge(waiting(2)) == "version 2 of the projection audit is being built: 3 of 9"
    told = judge(waiting(2, "event 4 can't be taken in"))
    assert told is not None
    assert told.endswith("could not be built: event 4 can't be taken in")
