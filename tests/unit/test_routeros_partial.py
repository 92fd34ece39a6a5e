"""Exports of RouterOS that are not whole: how it shows, and what is no sign of it."""

from __future__ import annotations

import pytest

from domain.routeros.menus import MENUS
from tests.routeros_texts import BODY, BY_LINE, routeros


@pytest.mark.parametrize(
    ("line", "menu"),
    [
        ('#error exporting "/ip firewall calea" (timeout)', "/ip firewall calea"),
        ("#error exporting /interface bridge calea", "/interface bridge calea"),
        ("# error exporting /interface/bridge/calea", "/interface bridge calea"),
    ],
)
def test_a_menu_that_did_not_answer_makes_the_export_partial(line: str, menu: str) -> None:
    form = routeros(f"{BY_LINE}{BODY}{line}\n")
    assert form.text == BODY
    assert form.completeness == "partial"
    assert form.warnings == (f"error exporting {menu}",)
    assert form.unread == (menu,)
    assert not form.cut


@pytest.mark.parametrize("line", ["#interrupted", "# interrupted ", "##Interrupted"])
def test_an_export_that_was_interrupted_is_partial_and_cut(line: str) -> None:
    form = routeros(f"{BODY}{line}\n")
    assert (form.completeness, form.warnings, form.cut) == ("partial", ("was interrupted",), True)
    assert form.text == routeros(BODY).text


def test_a_comment_that_speaks_of_interruptions_is_none() -> None:
    for line in ("# interrupted by ada", '/ip pool\nadd comment="#interrupted" name=p'):
        assert routeros(f"{BODY}{line}\n").completeness == "complete"


@pytest.mark.parametrize(
    "rest",
    ["", " canary", ' "/canary" (timeout)', " /ip Canary", " /ip address add x=canary", " /ip\x7f"],
)
def test_a_warning_holds_nothing_but_a_menu_path(rest: str) -> None:
    form = routeros(f"{BODY}#error exporting{rest}\n")
    assert form.warnings == ("error exporting a menu",)
    assert form.unread == ()
    assert form.completeness == "partial"


def test_warnings_are_bounded_and_told_once() -> None:
    menus = sorted(MENUS)[:90]
    text = "".join(f"#error exporting /ip {menu}\n" for menu in menus * 10)
    form = routeros(text)
    assert len(form.warnings) == 51
    assert len(set(form.warnings)) == 51


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n# noise\r\n"])
def test_an_export_that_ends_in_a_wrapped_line_is_partial(end: str) -> None:
    form = routeros(f"{BODY}add address=\\{end}")
    assert form.completeness == "partial"
    assert form.warnings == ("ends inside a wrapped line",)
    assert form.cut


@pytest.mark.parametrize(
    "end",
    [
        "/",
        "/i",
        "/po",
        "/ip/pool/add name=",
        "/ip pool a",
        "s",
        "se",
        "a",
        "ad",
        "r",
        "remov",
        "disable",
        "[ ",
        "[admin@r",
        "add",
        "add name=a comm",
        "add name=a comment",
        "add name=a comment=",
        "set [ find default-name=ether1",
        "set [ find default-name=ether1 ]",
        "add name=a \\\n    comm",
    ],
)
def test_a_last_line_that_breaks_off_makes_the_export_partial(end: str) -> None:
    form = routeros(f"{BODY}{end}")
    assert form.completeness == "partial"
    assert form.warnings == ("ends inside a line",)
    assert form.cut
    # With an end it is a line that is not understood, if anything; but a menu with nothing in it.
    assert routeros(f"{BODY}{end}\n").cut == (end == "/ip pool a")


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n"])
@pytest.mark.parametrize("menu", ["/ip", "/ip pool", "/ip firew", "/ip/firewall/filter"])
def test_a_menu_in_which_nothing_comes_any_more_makes_the_export_partial(
    menu: str, end: str
) -> None:
    form = routeros(f"{BODY}{menu}{end}")
    assert form.completeness == "partial"
    assert form.warnings == ("ends inside a line",)
    assert form.cut
    assert not routeros(f"{BODY}{menu}\n#error exporting {menu}{end}").cut


@pytest.mark.parametrize(
    "end",
    [
        "add name=a",
        'add name=a comment=""',
        "set [ find ] !comment",
        "remove [ find ]",
        "# add name=",
        "[admin@r1] > ",
        "exit",
    ],
)
def test_that_the_last_newline_is_missing_proves_nothing(end: str) -> None:
    assert routeros(f"{BODY}{end}").completeness == "complete"


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\\", "\\\n", "\\\n    more", '\\"'])
def test_an_export_that_ends_in_a_string_is_partial(end: str) -> None:
    form = routeros(f'{BODY}add comment="half{end}')
    assert form.completeness == "partial"
    assert form.warnings == ("ends inside a string",)
    assert form.cut
