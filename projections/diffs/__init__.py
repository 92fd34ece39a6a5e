"""Read model `diffs`: what differs between snapshots; with `backups`, a device's history."""

from projections.diffs.queries import (
    Diff,
    HistoryDiff,
    HistoryEntry,
    config_history,
    count_history,
    diff_of_snapshot,
    get_diff,
    list_diffs,
    predecessor_of,
)

__all__ = [
    "Diff",
    "HistoryDiff",
    "HistoryEntry",
    "config_history",
    "count_history",
    "diff_of_snapshot",
    "get_diff",
    "list_diffs",
    "predecessor_of",
]
