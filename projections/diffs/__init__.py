"""Read model `diffs`: what differs between snapshots; with `backups`, a device's history."""

from projections.diffs.feed import FeedFilter, FeedPage, change_feed
from projections.diffs.history import (
    HistoryDiff,
    HistoryEntry,
    config_history,
    count_history,
)
from projections.diffs.queries import (
    Diff,
    diff_of_snapshot,
    get_diff,
    list_diffs,
    predecessor_of,
)
from projections.diffs.shown import shown_history

__all__ = [
    "Diff",
    "FeedFilter",
    "FeedPage",
    "HistoryDiff",
    "HistoryEntry",
    "change_feed",
    "config_history",
    "count_history",
    "diff_of_snapshot",
    "get_diff",
    "list_diffs",
    "predecessor_of",
    "shown_history",
]
