"""Changes in words, harmless to a terminal."""

from __future__ import annotations

from itertools import groupby

from rich.text import Text

from adapters.cli.console import harmless
from domain.semantic.told import ToldChange, ToldDiff

_STYLES = {
    "added": "green",
    "removed": "red",
    "moved": "magenta",
    "enabled": "green",
    "disabled": "yellow",
}
_HEADLINE = 90


def changes_text(told: ToldDiff | None) -> Text:
    """All changes: those to report, then those that are low, then what came with an upgrade."""
    if told is None:
        return Text("there is no comparison in words of these", style="dim")
    shown = Text()
    after_upgrade = [one for one in told.changes if one.after_upgrade and one.level != "ignore"]
    for level in ("report", "low"):
        of_level = (one for one in told.changes if one.level == level and not one.after_upgrade)
        # Lines that are not understood are told without what is in them: very many may be alike.
        for _, group in groupby(of_level, key=lambda one: (one.sentence, one.kind, one.risks)):
            alike = list(group)
            _add(shown, alike[0], more=len(alike) - 1)
    if after_upgrade:
        shown.append(f"after the upgrade from {told.upgrade}, which writes defaults differently:\n")
        for one in after_upgrade:
            shown.append(harmless(f"  {one.sentence}\n"), style="dim")
    ignored = sum(one.level == "ignore" for one in told.changes)
    notes = list(told.notes)
    if told.upgrade and not after_upgrade:
        notes.append(f"the system was upgraded from {told.upgrade}")
    if ignored:
        notes.append(f"{ignored} change{'s' * (ignored > 1)} that the tenant's policy ignores")
    if told.more:
        notes.append(f"{told.more} changes more, which are not told one by one")
    for note in notes:
        shown.append(harmless(f"({note})\n"), style="dim")
    shown.rstrip()
    return shown


def headline(told: ToldDiff) -> str:
    """The first change in words, and how many more there are."""
    for level in ("report", "low"):
        of_level = [one for one in told.changes if one.level == level]
        real = [one for one in of_level if not one.after_upgrade]
        if real:
            first = next((one for one in real if one.risks), real[0]).sentence
            more = len(told.changes) + told.more - 1
            cut = first if len(first) <= _HEADLINE else f"{first[: _HEADLINE - 1]}…"
            return f"{cut} (and {more} more)" if more else cut
    if told.changes:
        return f"{len(told.changes)} changes after the upgrade from {told.upgrade}"
    return told.notes[0] if told.notes else ""


def _add(shown: Text, one: ToldChange, *, more: int) -> None:
    style = "dim" if one.level == "low" else _STYLES.get(one.kind, "")
    shown.append(harmless(one.sentence), style=style)
    if more:
        shown.append(f" (and {more} more like it)", style="dim")
    if one.risks:
        shown.append(f"  [{', '.join(risk.tag for risk in one.risks)}]", style="bold red")
    shown.append("\n")
