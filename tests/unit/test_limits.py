"""How long a device is waited for: in all, and for its next byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.ssh.target import Limits

seconds = st.integers(5, 3600)


def test_the_usual_time_has_the_usual_limits() -> None:
    assert Limits.within(300) == Limits()


@given(seconds, seconds)
def test_more_time_is_never_less_patience(one: int, other: int) -> None:
    less, more = (Limits.within(total) for total in sorted((one, other)))
    assert less.silence <= more.silence
    assert less.silence <= less.total
    assert min(less.total, 30) <= less.silence
