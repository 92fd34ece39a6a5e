"""Leaves hold what is stored, to the byte, also what is no text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.jetstream.tap import TappedMessage
from adapters.jetstream.verbatim import Reader, decode
from domain.tlog.leaf import leaf_data, parse_leaf, subject_bytes
from projections.source import Unreadable

REPLY = b"$JS.ACK.S.c.1.7.1.1700000000000000000.0"


@given(st.binary(min_size=1, max_size=40))
def test_a_subject_of_any_bytes_is_in_the_leaf_as_it_is(subject: bytes) -> None:
    event, _ = decode(TappedMessage(subject, REPLY, b"NATS/1.0\r\n\r\n", b"{}"))
    data = leaf_data("S", event)
    assert len(subject).to_bytes(2, "big") + subject in data
    assert subject_bytes(parse_leaf(data).subject) == subject
    assert isinstance(Reader().read(event), Unreadable)
