"""User names that a login can send are those that the SSH library takes, and no others."""

from __future__ import annotations

import pytest
from asyncssh.saslprep import SASLPrepError, saslprep
from hypothesis import example, given
from hypothesis import strategies as st

from domain.user_names import is_user_name


def taken(text: str) -> bool:
    try:
        saslprep(text)
    except SASLPrepError:
        return False
    return True


_ODD = st.sampled_from("a1 \u05d0\u0627\u00ad\u00a0\u0340\ufffd\u2ff0\ue000\ud800\u200e\x01\u20ac")


@given(st.text(_ODD | st.characters(codec=None), max_size=8))
@example("")
@example("\u05d01")
@example("\u05d01\u05d0")
@example("\u05d0a\u05d0")
def test_a_user_name_is_what_the_library_takes(text: str) -> None:
    assert is_user_name(text) == taken(text)


@pytest.mark.parametrize(
    ("text", "sendable"),
    [("backup", True), ("dom\\j.d@x", True), ("jörg", True), ("b\U0001f600", False)],
)
def test_names_of_people_can_be_sent_and_pictures_can_not(text: str, sendable: bool) -> None:
    assert is_user_name(text) is sendable
