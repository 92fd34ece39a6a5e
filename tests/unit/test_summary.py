"""A form that is remembered is the one that reading the text again would give."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.roles.forms import Forms
from domain.canonical import Canonical, canonicalise, plain, summary, text_under
from domain.canonical.bounds import MAX_CHARACTERS, MAX_LINES, TOO_LARGE
from domain.canonical.summary import beneath, parted, summarised, summary_of
from tests.exports import corpus_texts, made_up

KEY = b"k" * 32
LINES = (
    "# 2024-01-15 10:30:00 by RouterOS 7.14",
    "# jan/01/1970 00:00:30 by RouterOS x.xx",
    "#",
    "   # not running",
    "# ends in a backslash \\",
    '#error exporting "/ip/dns" (timeout)',
    "## Error exporting",
    "#interrupted",
    "",
    " ",
    "by RouterOS 6.49",
    "[admin@r1] > /export",
    "/ip address",
    "/system identity set name=a",
    'add comment="a',
    'b" list=c',
    "add address=192.0.2.1 \\",
    "    interface=br0",
    "set name=b",
    "\ufeff",
)
TEXTS = st.lists(
    st.tuples(
        st.sampled_from(LINES), st.sampled_from(("\n", "\n", "\n", "\r\n", "\r", "\r\r\n", ""))
    ),
    max_size=12,
).map(lambda lines: "".join(line + end for line, end in lines))
PLATFORMS = st.sampled_from(("routeros", "routeros", "ios", "junos", "text"))


@given(TEXTS, PLATFORMS)
def test_the_rest_of_a_text_decides_its_form(text: str, platform: str) -> None:
    parts = parted(text, platform)
    if parts is not None:
        head, rest = parts
        found = beneath(head, summary_of(canonicalise(rest, platform), KEY))
        assert found == summary_of(canonicalise(text, platform), KEY)


def _is_decided_by_its_rest(text: str) -> bool:
    parts = parted(text, "routeros")
    if parts is None:
        return True
    head, rest = parts
    found = beneath(head, summary_of(canonicalise(rest, "routeros"), KEY))
    return found == summary_of(canonicalise(text, "routeros"), KEY)


def test_so_it_does_of_made_up_exports() -> None:
    assert [text for text in made_up() if not _is_decided_by_its_rest(text)] == []


def test_so_it_does_of_real_exports_as_they_are() -> None:
    texts = corpus_texts()
    assert [name for name, text in texts.items() if not _is_decided_by_its_rest(text)] == []


@given(st.lists(st.tuples(st.sampled_from("ab"), TEXTS, PLATFORMS, st.sampled_from((KEY, b"x")))))
def test_what_is_remembered_changes_no_answer(
    readings: list[tuple[str, str, str, bytes]],
) -> None:
    async def run() -> None:
        remembering = Forms()
        for device, text, platform, key in readings:
            for _ in range(2):
                found = await remembering.summary(("acme", device), key, text, platform)
                assert found == summary_of(canonicalise(text, platform), key)

    asyncio.run(run())


async def test_an_export_of_which_only_the_time_is_new_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def counted(text: str, platform: str) -> Canonical:
        read.append(text)
        return canonicalise(text, platform)

    monkeypatch.setattr(summary, "canonicalise", counted)
    remembering = Forms()
    body = "/system identity\nset name=a\n"
    for minute in range(5):
        text = f"# 2024-01-15 10:{minute:02}:00 by RouterOS 7.1{minute}\n{body}"
        found = await remembering.summary(("acme", "r1"), KEY, text, "routeros")
        assert (found.os_version, found.line_count) == (f"7.1{minute}", 3)
    assert read == [body]


@given(st.sampled_from((1, 3, 50)), TEXTS)
def test_the_plain_form_is_the_same_in_pieces(piece: int, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_PIECE", piece)
        assert plain.normal_text(text) == plain.canonicalise(text).text


@pytest.mark.parametrize("platform", ["routeros", "ios", "text"])
@pytest.mark.parametrize("text", ["a \n" * (MAX_LINES + 1), "a" * (MAX_CHARACTERS + 1)])
def test_a_text_that_is_too_large_is_plain_and_says_so(platform: str, text: str) -> None:
    """Its fingerprint is that of the plain rules, however it is come by."""
    found = summarised(text, platform, KEY)
    assert found == summary_of(canonicalise(text, platform), KEY)
    assert found.rules == plain.RULES
    assert found.warnings == (() if platform == "text" else (TOO_LARGE,))
    assert text_under("routeros/2", text) is None
    assert text_under(plain.RULES, text) == plain.canonicalise(text).text
