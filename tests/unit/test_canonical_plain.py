"""The canonical form of text without rules of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.canonical import canonicalise

TEXT = "hostname r1\n\n  indented\n! comment\n# also one\n"


@pytest.mark.parametrize(
    "variant",
    [
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.replace("\n", "\t \n"),
        TEXT.rstrip("\n"),
        TEXT + "\n \n\r\n",
        "\ufeff" + TEXT,
    ],
)
def test_line_endings_trailing_blanks_and_a_mark_do_not_count(variant: str) -> None:
    form = canonicalise(variant, "text")
    assert form.text == TEXT
    assert form.rules == "plain/1"
    assert form.completeness == "complete"


@pytest.mark.parametrize(
    "other",
    [
        TEXT.replace("\n\n", "\n"),
        TEXT.replace("  indented", " indented"),
        TEXT.replace("! comment\n", ""),
        TEXT.replace("# also one\n", ""),
        TEXT.replace("r1", "r1\x0c"),
        "\n" + TEXT,
        "".join(reversed(TEXT.splitlines(keepends=True))),
    ],
)
def test_everything_else_counts(other: str) -> None:
    assert canonicalise(other, "text").text != TEXT


@pytest.mark.parametrize("platform", ["text", "unheard-of", ""])
def test_platforms_without_rules_get_the_plain_ones(platform: str) -> None:
    assert canonicalise("# x\n", platform).text == "# x\n"


def test_lines_have_no_section() -> None:
    assert list(canonicalise("/ip address\nadd x\n", "text").lines) == [
        ("", "/ip address"),
        ("", "add x"),
    ]


@given(st.text(alphabet="ab \t\r\n\x85\u2028\x0c\ufeff", max_size=60))
def test_the_form_of_a_form_is_itself(text: str) -> None:
    form = canonicalise(text.lstrip("\ufeff"), "text")
    assert canonicalise(form.text, "text").text == form.text
