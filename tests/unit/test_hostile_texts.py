"""No text makes Configtrail ponder: each takes time by its length, whatever the platform."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.roles.workers import Workers
from domain.canonical import canonicalise, text_under
from domain.profiles import PROFILES
from domain.redaction import Redactor, redacted
from tests.hostile import SIZE, lines_of_secrets, texts

# Of the processor's time, and ten times what any of them needs.
SECONDS = 2.0
PLATFORMS = ["routeros", "text", *PROFILES]


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(1, seconds=SECONDS) as bounded:
        yield bounded


def forms(text: str, platform: str) -> int:
    """Work out the forms under the rules of today and of before; how long they are."""
    form = canonicalise(text, platform)
    older = text_under(f"{platform}/1", text)
    return len(form.normal) + len(older or "")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_canonical_form_takes_time_by_the_length_of_the_text(
    workers: Workers, platform: str
) -> None:
    for text in texts().values():
        # Beyond the bound it would raise.
        workers.submit(forms, text, platform).result()


def lines_shown(lines: list[str], platform: str) -> int:
    """Hide the secrets of the lines, one by one; how many lines are shown."""
    redactor = Redactor(b"k" * 32, "r1")
    return len([redacted(f"{line}\n", platform, redactor) for line in lines])


@pytest.mark.parametrize("platform", PROFILES)
def test_hiding_secrets_takes_time_by_the_length_of_a_line(workers: Workers, platform: str) -> None:
    lines = list(lines_of_secrets().values())
    for some in (lines[at : at + 8] for at in range(0, len(lines), 8)):
        assert workers.submit(lines_shown, some, platform).result() == len(some)


def test_a_text_of_carriage_returns_has_its_secrets_hidden(workers: Workers) -> None:
    text = "\r" * SIZE
    assert workers.submit(redacted, text, "ios", Redactor(b"k" * 32, "r1")).result() == text
