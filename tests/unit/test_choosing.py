"""Which two checkpoints a bundle is about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.tlog.choosing import Candidate, choose
from adapters.tlog.proofs import Sealed
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.note import Note


def candidate(size: int, position: int, witnesses: int) -> Candidate:
    sealed = Sealed(Checkpoint("log", size, bytes(32)), Note("", ()))
    return Candidate(sealed, position, witnesses)


CANDIDATES = st.lists(
    st.builds(candidate, st.integers(1, 9), st.integers(0, 9), st.integers(0, 3)), max_size=6
)


def test_what_more_witnesses_cosigned_goes_before_what_is_newer() -> None:
    own = [candidate(9, 20, 0), candidate(8, 18, 2), candidate(5, 10, 2), candidate(4, 9, 3)]
    stream = [candidate(20, 0, 0), candidate(12, 0, 2)]
    assert choose(own, stream) == (own[2].sealed, stream[1].sealed)
    assert choose(own, stream[:1]) == (own[0].sealed, stream[0].sealed)
    assert choose(own[:2], [candidate(12, 0, 2)]) is None


@given(CANDIDATES, CANDIDATES)
def test_no_two_others_are_better(own: list[Candidate], stream: list[Candidate]) -> None:
    ranks = {
        (min(one.witnesses, two.witnesses), one.sealed.checkpoint.size, two.sealed.checkpoint.size)
        for one in own
        for two in stream
        if one.position <= two.sealed.checkpoint.size
    }
    found = choose(own, stream)
    assert (found is None) == (not ranks)
    if found is not None:
        assert tuple(it.checkpoint.size for it in found) == max(ranks)[1:]
