"""The bar that long commands show: on a terminal alone, and it leaves nothing behind."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from adapters.cli import progress


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_tells_how_far_it_is_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    shown = StringIO()
    console = Console(file=shown, force_terminal=terminal, width=80)
    monkeypatch.setattr(progress, "err", console)
    with progress.progress("events") as moved:
        moved(4711, 10_000)
    told = shown.getvalue()
    assert ("events" in told, "4711/10000" in told) == (terminal, terminal)
    # A terminal is left as it was: what was drawn is erased, and the cursor is there again.
    assert not terminal or told.endswith(("\x1b[2K", "\x1b[?25h"))
