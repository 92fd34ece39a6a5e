"""What is said of a device that was silent for too long."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from adapters.ssh.failures import silent
from adapters.ssh.target import Limits


@given(total=st.integers(30, 3500))
def test_the_timeout_that_is_advised_lets_it_be_silent_for_longer(total: int) -> None:
    limits = Limits.within(float(total))
    advised = re.search(r"more than (\S+) minutes", silent(limits.silence).reason)
    assert advised is not None
    minutes = float(advised[1])
    assert Limits.within(minutes * 60 + 1).silence > limits.silence
