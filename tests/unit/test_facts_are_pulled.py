"""Facts are read through pull consumers alone: nothing subscribes to them, ordered or core."""

from __future__ import annotations

import ast
from pathlib import Path

from adapters.jetstream.streams import wanted_streams
from adapters.roles.sealer import SEAL_SUBJECT
from adapters.roles.trigger import SUBJECT

ROOT = Path(__file__).parents[2]
# Inboxes, to which a pull, a direct get or an append is answered, and subjects of requests, which
# no stream holds.
SUBSCRIBED = {
    "adapters/jetstream/branch.py": "inbox",
    "adapters/jetstream/publisher.py": "f'{inbox}.*'",
    "adapters/jetstream/pull.py": "self._inbox",
    "adapters/roles/collector.py": "SUBJECT",
    "adapters/roles/sealer.py": "SEAL_SUBJECT",
}


def test_only_answers_and_requests_are_subscribed_to_and_no_consumer_is_ordered() -> None:
    found = {}
    for package in ("domain", "projections", "adapters"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                # A pull consumer bound by hand is one too, and a recorder's own method is none.
                if node.func.attr == "subscribe":
                    place = path.relative_to(ROOT).as_posix()
                    found[place] = ast.unparse(node.args[0])
                assert "ordered_consumer" not in {one.arg for one in node.keywords}
    assert found == SUBSCRIBED


def test_no_stream_holds_what_is_asked_for_by_request() -> None:
    held = [subject for stream in wanted_streams(1, 1) for subject in stream.subjects or ()]
    for asked in (SUBJECT, SEAL_SUBJECT):
        assert not any(asked.startswith(subject.removesuffix(">")) for subject in held)
