"""What is shown to a person: nothing in it steers the terminal, and all of it can be written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.cli.console import harmless

anything = st.text(st.characters(codec=None, categories=None))


@given(anything | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_whatever_is_shown_can_be_written_and_is_harmless_then(text: str) -> None:
    shown = harmless(text)
    shown.encode("utf-8")
    assert harmless(shown) == shown


def test_what_is_no_utf_8_and_what_steers_is_spelt_out() -> None:
    assert harmless(b"dev\xff\x1b".decode("utf-8", "surrogateescape")) == "dev\\udcff\\x1b"
