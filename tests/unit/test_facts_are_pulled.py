"""Facts are read through pull consumers alone: nothing subscribes to them, ordered or core."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from adapters.jetstream.streams import wanted_streams
from adapters.roles.sealer import SEAL_SUBJECT
from adapters.roles.trigger import SUBJECT

ROOT = Path(__file__).parents[2]
# Inboxes, to which a pull, a direct get or an append is answered, and subjects of requests, which
# no stream holds.
SUBSCRIBED = {
    "adapters/jetstream/branch.py": ["f'{inbox}.*'"],
    "adapters/jetstream/publisher.py": ["f'{inbox}.*'"],
    "adapters/jetstream/pull.py": ["self._inbox"],
    "adapters/roles/collector.py": ["SUBJECT"],
    "adapters/roles/sealer.py": ["SEAL_SUBJECT"],
}
PACKAGES = ("domain", "projections", "adapters", "benchmarks", "docs/examples")
# What makes a consumer of its own, which nobody can hold to the rules.
PUSHING = ("subscribe_bind", "ordered_consumer", "OrderedConsumer", "deliver_subject")


def _named(function: ast.expr, name: str) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == name


def python_files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_only_answers_and_requests_are_subscribed_to_and_no_consumer_is_ordered() -> None:
    found: dict[str, list[str]] = {}
    for path in python_files():
        place = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword):
                assert node.arg not in PUSHING, place
            # A pull consumer bound by hand is one too, and a recorder's own method is none.
            if isinstance(node, ast.Attribute):
                assert node.attr not in PUSHING, place
            if isinstance(node, ast.Call) and _named(node.func, "subscribe"):
                found.setdefault(place, []).append(ast.unparse(node.args[0]))
    assert found == SUBSCRIBED


def test_the_examples_in_other_languages_name_their_consumer_and_subscribe_to_answers() -> None:
    others = [path for path in (ROOT / "docs/examples").iterdir() if path.suffix != ".py"]
    assert {path.suffix for path in others} >= {".mjs", ".sh"}
    for path in others:
        text = path.read_text()
        code = "\n".join(line.split("//")[0] for line in text.splitlines())
        assert not re.search(r"\.subscribe\(|consumers\.get\(\s*\w+\s*\)", code), path
        assert set(re.findall(r"\bSUB (\S+) ", text)) <= {"answer"}, path


def test_no_stream_holds_what_is_asked_for_by_request() -> None:
    held = [subject for stream in wanted_streams(1, 1) for subject in stream.subjects or ()]
    for asked in (SUBJECT, SEAL_SUBJECT):
        assert not any(asked.startswith(subject.removesuffix(">")) for subject in held)
