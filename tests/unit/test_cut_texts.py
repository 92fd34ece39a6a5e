"""Texts that were cut, at any place: nothing is told of them that the device did not do."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.comparing import Job, compare
from domain.canonical import canonicalise
from domain.canonical.extent import with_cuts
from domain.profiles import PROFILES
from domain.semantic.told import ToldChange, ToldDiff
from tests.exports import Edited, corpus_texts, form_of, genuine_texts, made_up
from tests.unit.test_profiles import sample

EXPORTS = made_up()
BEGINNING = "the beginning of the older one"


def told(before: str, after: str, platform: str = "routeros") -> ToldDiff:
    found = compare(job(before, after, platform))
    assert found.told is not None
    if not found.told.changes:
        # Counts by section tell no other story than the sentences.
        assert found.sections == ()
    return found.told


def job(before: str, after: str, platform: str) -> Job:
    return Job(before.encode(), after.encode(), platform, b"k" * 32, "r1", ())


def nothing_false(whole: str, cut: str, platform: str = "routeros") -> None:
    """Nothing changed on the device. Only of a text that ends where a line does nobody can know:
    then all that is told is what is not there, and a note says why that may be."""
    there, back = told(whole, cut, platform), told(cut, whole, platform)
    kinds = {one.kind for one in there.changes}, {one.kind for one in back.changes}
    assert kinds in ((set(), set()), ({"removed"}, {"added"}))
    if there.changes:
        assert ends_where_a_line_does(whole, cut, platform)
        assert any(BEGINNING in note for note in there.notes)


def ends_where_a_line_does(whole: str, cut: str, platform: str) -> bool:
    lines = canonicalise(cut, platform).logical
    return lines == canonicalise(whole, platform).logical[: len(lines)]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(EXPORTS), st.integers(0, 2**32), st.floats(0, 1, exclude_max=True))
def test_an_export_cut_anywhere_says_nothing_false(text: str, seed: int, part: float) -> None:
    whole = Edited(text, seed).render()
    nothing_false(whole, whole[: int(len(whole) * part)])


def test_of_an_export_that_was_interrupted_nothing_is_told_as_removed() -> None:
    whole = "/ip dns\nset servers=192.0.2.1\n/ip pool\nadd name=a ranges=10.0.0.1\n"
    for lines in (2, 3, 4):
        cut = "".join(one + "\n" for one in whole.split("\n")[:lines]) + "#interrupted\n"
        assert told(whole, cut).changes == ()
        assert told(cut, whole).changes == ()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EXPORTS), st.integers(0, 2**32), st.floats(0, 1), st.integers(1, 4))
def test_what_changed_before_the_cut_is_told_and_nothing_else(
    text: str, seed: int, part: float, edits: int
) -> None:
    edited = Edited(text, seed)
    for _ in range(edits):
        edited.edit()
    before, whole = text, edited.render()
    cut = whole[: int(len(whole) * part)]
    assume(form_of(cut).cut)
    assert_nothing_is_told_but_what_changed(before, whole, cut)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EXPORTS), st.integers(0, 2**32), st.floats(0.5, 1), st.integers(1, 4))
def test_so_it_is_where_whoever_keeps_the_texts_takes_the_last_newline_away(
    text: str, seed: int, part: float, edits: int
) -> None:
    edited = Edited(text, seed)
    before = in_menus(edited)
    for _ in range(edits):
        edited.edit()
    whole = in_menus(edited)
    cut = whole[: int(len(whole) * part)]
    assume(lost_the_end_of_a_line(before, whole, cut))
    assert_nothing_is_told_but_what_changed(before, whole, cut)


def in_menus(edited: Edited) -> str:
    """The menus in their order, without a newline at the end."""
    menus = ((path, *entries) for path, entries in edited.menus.items() if entries)
    return "\n".join(line for menu in menus for line in menu)


SMALL = """/ip ssh
set a=1
/ip firewall filter
add action=accept chain=input
add action=drop chain=input
add action=accept chain=input
add action=drop chain=input
/ip address
add address=10.0.0.1/24 interface=e1
add address=10.0.0.2/24 interface=e2
add address=10.0.0.3/24 interface=e3
add address=10.0.0.4/24 interface=e4"""


@pytest.mark.parametrize(("one", "other"), [("a=1", "a=2"), ("=e1", "=e9"), ("=drop", "=reject")])
def test_half_a_line_that_begins_the_last_one_too_is_no_change_of_that(
    one: str, other: str
) -> None:
    whole = SMALL.replace(one, other, 1)
    places = [at for at in range(1, len(whole)) if lost_the_end_of_a_line(SMALL, whole, whole[:at])]
    assert len(places) > 100
    for at in places:
        assert_nothing_is_told_but_what_changed(SMALL, whole, whole[:at])


def assert_nothing_is_told_but_what_changed(before: str, whole: str, cut: str) -> None:
    real = {_key(one) for one in told(before, whole).changes}
    assert {_key(one) for one in told(before, cut).changes} <= real
    real = {_key(one) for one in told(whole, before).changes}
    assert {_key(one) for one in told(cut, before).changes} <= real


def lost_the_end_of_a_line(before: str, whole: str, cut: str) -> bool:
    """Whether a cut is in a line that did not change, and is the last one nowhere: there nobody can
    tell it from a change."""
    known, there, left = (list(form_of(one).lines) for one in (before, whole, cut))
    if not left or len(left) == len(there) or left[-1] == there[len(left) - 1]:
        return False
    return there[len(left) - 1] in known[:-1]


def test_a_real_export_cut_anywhere_says_nothing_false() -> None:
    for number, text in enumerate(genuine_texts().values()):
        # Without a newline at the end of both, a cut in the last line is a change of it.
        end = len(text) if text.endswith("\n") else text.rfind("\n") + 1
        for at in range(number % 37, end, 37 + len(text) // 25):
            nothing_false(text, text[:at])


@pytest.mark.parametrize("head", ["", "/ip pool\nadd name=p ranges=1\n"])
@pytest.mark.parametrize(
    ("platform", "before", "after"),
    [
        ("routeros", "/system identity\nset name=core", "/system identity\nset name=core2"),
        ("routeros", "/tool romon\nset enabled=yes", "/tool romon\nset enabled=yes secrets=a"),
        ("ios", "hostname a\nrouter bgp 1\n neighbor x remote-as 2", None),
    ],
)
def test_the_last_line_of_texts_that_are_kept_without_its_end_is_told(
    platform: str, before: str, after: str | None, head: str
) -> None:
    if platform != "routeros":
        head = head and "ip routing\n"
    after = f"{before}3" if after is None else after
    common = "/ip ssh\nset a=1\n" if platform == "routeros" else "ip http server\n"
    for one, two in ((before, after), (after, before)):
        assert told(common + one, common + head + two, platform).changes
        lines = told(common + one, common + two, platform).changes
        assert len(lines) == (1 if platform == "routeros" else 2)


@pytest.mark.parametrize("platform", PROFILES)
def test_a_text_of_another_platform_cut_anywhere_says_nothing_false(platform: str) -> None:
    whole = sample(platform)
    # Every place of a line is one in some of them.
    for at in range(0, len(whole), 5):
        nothing_false(whole, whole[:at], platform)


ROUTES = "/ip pool\nadd name=a ranges=1\nadd name=b ranges=10.0.0.1 comment=x\n/ip route\nadd x=1\n"


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize(
    "left", ["add name=b", "add name=b ranges=10.0.0.1", "add name=b ranges=1"]
)
def test_half_an_entry_that_looks_whole_is_no_other_entry(left: str, end: str) -> None:
    cut = ROUTES[: ROUTES.index("add name=b")] + left + end
    assert told(ROUTES, cut).changes == ()
    assert told(cut, ROUTES).changes == ()
    assert any("incomplete" in note for note in told(ROUTES, cut).notes)


def test_a_setting_that_a_cut_turned_on_or_off_is_not_told() -> None:
    whole = "/ip service\nset telnet port=23 disabled=yes address=10.0.0.0/8\n/ip ssh\nset a=1\n"
    for left in ("port=23", "port=23 disabled=yes", "port=2", "port=23 disabled=yes address=10.0"):
        cut = whole[: whole.index("port=23")] + left
        assert told(whole, cut).changes == ()
        assert told(cut, whole).changes == ()
    named = "/interface ethernet\nset [ find default-name=e1 ] name=office disabled=yes\n"
    assert told(named, named[: named.index("fice")]).changes == ()


def test_what_lost_its_last_property_on_the_device_is_told() -> None:
    before = "/ip pool\nadd name=a ranges=1\nadd name=b ranges=1 comment=x\n"
    [change] = told(before, before.replace(" comment=x", "")).changes
    assert (change.kind, change.entry) == ("modified", "b")


def test_entries_gone_from_the_end_are_told_with_the_doubt_that_there_is() -> None:
    before = "/ip pool\nadd name=a\nadd name=b\n"
    found = told(before, "/ip pool\nadd name=a\n")
    assert [one.sentence for one in found.changes] == ["ip pool: 'b' removed"]
    assert any(BEGINNING in note for note in found.notes)
    assert not any(BEGINNING in note for note in told(before, "/ip pool\nadd name=b\n").notes)


def test_a_cut_is_seen_beside_the_other_text_only() -> None:
    cut = ROUTES[: ROUTES.index(" comment=x")]
    assert not form_of(cut).cut
    before, after = with_cuts(form_of(ROUTES), form_of(cut))
    assert (before.cut, after.cut) == (False, True)
    before, after = with_cuts(form_of(cut), form_of(cut))
    assert (before.cut, after.cut) == (False, False)


def test_real_exports_without_a_last_newline_are_not_taken_for_cut() -> None:
    forms = {name: form_of(text) for name, text in corpus_texts().items()}
    for name in ("lab-inlived-router1/000.rsc", "lab-inlived-router2/000.rsc"):
        if name not in forms:
            pytest.skip("this corpus does not hold the versions that this test knows")
    one, two = (forms[f"lab-inlived-router{n}/000.rsc"] for n in (1, 2))
    assert one.unfinished
    assert two.unfinished
    assert not any(form.cut for form in with_cuts(one, two))


def _key(one: ToldChange) -> tuple[str, str, str, tuple[str, ...]]:
    return one.section, one.kind, one.entry, tuple(each.name for each in one.properties)
