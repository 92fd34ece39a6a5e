"""Changes in words, harmless to a terminal."""

from __future__ import annotations

from itertools import groupby

from rich.text import Text

from adapters.cli.console import harmless
from domain.semantic.told import ToldChange, ToldDiff, changes_counted

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
    after_upgrade = [one for one in told.shown if one.after_upgrade]
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
    notes = list(told.notes)
    if told.upgrade and not after_upgrade:
        notes.append(f"the system was upgraded from {told.upgrade}")
    for note in (*notes, *told.not_shown):
        shown.append(harmless(f"({note})\n"), style="dim")
    shown.rstrip()
    return shown


def headline(told: ToldDiff) -> str:
    """The first change in words, and how many more there are. What the policy ignores is in
    neither."""
    real = [one for one in told.shown if not one.after_upgrade]
    loudest = [one for one in real if one.level == "report"] or real
    if loudest:
        first = next((one for one in loudest if one.risks), loudest[0]).sentence
        more = len(told.shown) + told.more - 1
        cut = first if len(first) <= _HEADLINE else f"{first[: _HEADLINE - 1]}…"
        return f"{cut} (and {more} more)" if more else cut
    if told.shown:
        return f"{changes_counted(len(told.shown))} after the upgrade from {told.upgrade}"
    if told.changes:
        more_words = f", and {changes_counted(told.more)} more, not told one by one"
        return f"nothing that the tenant's policy reports{more_words if told.more else ''}"
    return told.notes[0] if told.notes else ""


def _add(shown: Text, one: ToldChange, *, more: int) -> None:
    style = "dim" if one.level == "low" else _STYLES.get(one.kind, "")
    shown.append(harmless(one.sentence), style=style)
    if more:
        shown.append(f" (and {more} more like it)", style="dim")
    if one.risks:
        shown.append(f"  [{', '.join(one.tags)}]", style="bold red")
    shown.append("\n")
