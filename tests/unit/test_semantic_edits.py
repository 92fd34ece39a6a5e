"""Random edits of exports, with exactly what must be told of them; and differences applied."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain.canonical.extent import with_cuts
from domain.routeros.spelling import by_menu
from domain.semantic.applying import apply, meaning
from domain.semantic.changes import SemanticDiff
from domain.semantic.comparing import compare
from domain.semantic.understanding import not_understood
from tests.exports import (
    ODD,
    UNREAD,
    Edited,
    Told,
    corpus_texts,
    form_of,
    genuine_texts,
    made_up,
)

EXPORTS = made_up()


def told(diff: SemanticDiff) -> list[Told]:
    return sorted(
        Told(one.section, one.kind, tuple(each.name for each in one.properties))
        for one in diff.changes
    )


@settings(max_examples=1_000)
@given(st.sampled_from(EXPORTS), st.integers(0, 2**32), st.integers(0, 8))
def test_each_edit_is_told_and_nothing_else(text: str, seed: int, edits: int) -> None:
    edited = Edited(text, seed)
    for _ in range(edits):
        edited.edit()
    before, after = form_of(text), form_of(edited.render())
    diff = compare(before, after)
    assert told(diff) == sorted(edited.expected)
    assert not diff.respelled
    assert not diff.line_based
    assert (before.text == after.text) == (not edited.expected)
    applied = apply(by_menu(before.logical), diff.changes)
    assert meaning(applied) == meaning(by_menu(after.logical))


def test_real_exports_are_wholly_understood_but_for_what_is_known_to_be_odd() -> None:
    for name, text in corpus_texts().items():
        lines = [error.line for error in not_understood(text)]
        count, first = ODD.get(name, (0, ""))
        assert len(lines) == count, name
        if lines:
            assert text.replace("\r\n", "\n").split("\n")[lines[0] - 1] == first, name
        form = form_of(text)
        cut = name.startswith("lab-artemchikus")
        assert (form.completeness == "partial") == (name in UNREAD or cut), name
        assert bool(form.unread) == (name in UNREAD), name


def test_each_edit_of_a_real_export_is_told_and_nothing_else() -> None:
    for name, kept in genuine_texts().items():
        # Where one of two has no last newline and is what the other begins with, it was cut.
        text = f"{kept.rstrip()}\n"
        before = form_of(text)
        for seed in range(25):
            edited = Edited(text, seed)
            for _ in range(seed % 6):
                edited.edit()
            after = form_of(edited.render())
            diff = compare(before, after)
            assert told(diff) == sorted(edited.expected), (name, seed)
            assert (before.text == after.text) == (not edited.expected), (name, seed)


_WORDS = ("a", "b", "c")
_LINES = st.builds(
    lambda verb, name, rest: " ".join((verb, *name, *rest)),
    st.sampled_from(["add", "add", "add", "set x", "set [ find name=a ]", "set", "remove x"]),
    st.lists(st.sampled_from([f"name={word}" for word in _WORDS]), max_size=1),
    st.lists(
        st.sampled_from(
            [
                *(f"{name}={word}" for name in ("chain", "comment", "disabled") for word in _WORDS),
                "dst-port=1,2",
                "dst-port=2,1",
                'comment="a \\_b"',
                "!log",
                ".x=1",
                "p.q=1 .x=2",
            ]
        ),
        max_size=4,
    ),
)
_MENUS = st.lists(
    st.tuples(
        st.sampled_from(
            ["/ip firewall filter", "/ip pool", "/ip dns static", "/interface list", "/ip route"]
        ),
        st.lists(
            _LINES | st.just("what is this") | st.just("add name=a regexp=b"),
            min_size=1,
            max_size=7,
        ),
    ),
    max_size=4,
)


@settings(max_examples=1_000)
@given(_MENUS, _MENUS)
def test_a_difference_applied_to_the_old_gives_the_new(
    old: list[tuple[str, list[str]]], new: list[tuple[str, list[str]]]
) -> None:
    before, after = (
        form_of("".join("\n".join([path, *lines]) + "\n" for path, lines in menus))
        for menus in (old, new)
    )
    # One that looks as if it had lost the end of the other is told of with reserve.
    assume(not any(form.cut for form in with_cuts(before, after)))
    diff = compare(before, after)
    here, there = by_menu(before.logical), by_menu(after.logical)
    assert meaning(apply(here, diff.changes)) == meaning(there)
    assert (meaning(here) == meaning(there)) == (not diff.changes)
    if before.text == after.text:
        assert diff == SemanticDiff()


def test_differences_of_all_complete_real_exports_can_be_applied() -> None:
    forms = [form_of(text) for text in corpus_texts().values()]
    forms = [form for form in forms if form.completeness == "complete"]
    for before, after in itertools.permutations(forms, 2):
        if any(form.cut for form in with_cuts(before, after)):
            continue
        diff = compare(before, after)
        applied = apply(by_menu(before.logical), diff.changes)
        assert meaning(applied) == meaning(by_menu(after.logical))


@pytest.mark.parametrize("seed", range(5))
def test_moves_are_as_few_as_can_be(seed: int) -> None:
    choice = random.Random(seed)
    rules = [f"add action=accept chain=input comment=rule-{n}" for n in range(60)]
    moved = list(rules)
    for at in sorted(choice.sample(range(0, 60, 10), 3), reverse=True):
        moved.insert(choice.randrange(60), moved.pop(at))
    before, after = (
        form_of("\n".join(["/ip firewall filter", *lines, ""])) for lines in (rules, moved)
    )
    changes = compare(before, after).changes
    assert {one.kind for one in changes} <= {"moved"}
    assert len(changes) <= 3
