"""Facts are read through pull consumers alone: nothing subscribes to them, ordered or core."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Each subscribes to an inbox of its own, to which a pull, a direct get or an append is answered.
INBOXES = {
    "adapters/jetstream/branch.py",
    "adapters/jetstream/publisher.py",
    "adapters/jetstream/pull.py",
}


def test_only_inboxes_are_subscribed_to_and_no_consumer_is_ordered() -> None:
    found = set()
    for package in ("domain", "projections", "adapters"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                # A pull consumer bound by hand is one too.
                if node.func.attr.endswith("subscribe") and node.func.attr != "unsubscribe":
                    found.add(path.relative_to(ROOT).as_posix())
                    assert node.func.attr == "subscribe"
                    assert "inbox" in ast.unparse(node.args[0])
                assert "ordered_consumer" not in {one.arg for one in node.keywords}
    assert found == INBOXES
