"""The canonical form of RouterOS exports: noise goes, configuration stays."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.canonical import Canonical, canonicalise, detect_platform, text_under
from domain.canonical.form import physical_lines
from domain.canonical.routeros import logical_form, origins
from domain.routeros.menus import MENUS

BODY = """\
/interface bridge
add name=bridge1
/ip address
add address=10.0.0.1/24 interface=bridge1
"""
BY_LINE = "# 2024-01-15 10:30:00 by RouterOS 7.14\n"


def routeros(text: str) -> Canonical:
    return canonicalise(text, "routeros")


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("# jan/15/2024 10:30:00 by RouterOS 6.49.10", "6.49.10"),
        ("# 2024-01-15 10:30:00 by RouterOS 7.14", "7.14"),
        ("# sep/ 2/2020  3: 9:38 by RouterOS 7.1.3", "7.1.3"),
        ("# nov/14/2021 10:31:11 by RouterOS 7.1rc6", "7.1rc6"),
        ("# 2025-02-01 06:02:17 by RouterOS 7.18beta4", "7.18beta4"),
        ("# by RouterOS 6.49.6", "6.49.6"),
        ("# ____-__-__ __:__:__ by RouterOS 7.8", "7.8"),
        ("# ---/--/---- --:--:-- by RouterOS 6.48", "6.48"),
        ("# jan/01/1970 00:00:30 by RouterOS x.xx", None),
        ("# jan/01/1970 00:00:30 by RouterOS", None),
        ("jan/15/2024 10:30:00 by RouterOS 6.49.10", "6.49.10"),
        ("2024-01-15 10:30:00 by RouterOS 7.14", "7.14"),
        ("## 2025-01-15 10:30:00 by RouterOS 7.17.2", "7.17.2"),
        ("# 12/20/2023 10:30:00 by RouterOS 7.12.1", "7.12.1"),
        ("# kept by the network team\n#\n\n# 2024-01-15 10:30:00 by RouterOS 7.14", "7.14"),
        ("[admin@gw-1] > /export\n# 2024-01-15 10:30:00 by RouterOS 7.14", "7.14"),
        ("[admin@gw 1] /ip address> export hide-sensitive\n# by RouterOS 7.14", "7.14"),
        ("[admin@gw] > /export terse file=x.rsc", None),
        ("\ufeff# 2024-01-15 10:30:00 by RouterOS 7.14", "7.14"),
        ("# software id = ABCD-1234\n#\n# model = RB760iGS\n# serial number = 1", None),
        ("by RouterOS 7.14\nsoftware id = ABCD-1234\nmodel = X\nserial number = 2", "7.14"),
        ("# 2024-01-15 by RouterOS 7.19\n# system id = abc\n#", "7.19"),
    ],
)
def test_every_header_form_is_dropped_and_tells_the_version(
    header: str, version: str | None
) -> None:
    form = routeros(f"{header}\n{BODY}")
    assert form.text == BODY
    assert form.os_version == version
    assert form.completeness == "complete"
    assert form.rules == "routeros/4"


def test_a_by_line_after_the_configuration_began_is_not_the_header() -> None:
    assert routeros(f"{BODY}# written by RouterOS 6.1\n").os_version is None


@pytest.mark.parametrize(
    "noise",
    [
        "# managed by CAPsMAN",
        "# channel: 5180/20-Ceee/ac/P(20dBm), SSID: x",
        "# DFS channel availability check (1 min)",
        "   # Interface not running",
        '# a lone " in a comment',
        "# ends in a backslash \\",
        "",
        " \t",
        "[admin@gw] > ",
        "[admin@gw] /ip address> quit",
    ],
)
def test_a_line_that_is_no_configuration_is_dropped_anywhere(noise: str) -> None:
    lines = BODY.splitlines()
    for at in range(len(lines) + 1):
        assert routeros("\n".join([*lines[:at], noise, *lines[at:]])).text == BODY


@pytest.mark.parametrize(
    "line",
    [
        "[admin@gw] > /ip address add address=10.0.0.2/24",
        "[erased queues]",
        'add name=x comment="# not a comment"',
        "by RouterOS 7.14",
        "2024-01-15 10:30:00 by RouterOS 7.14",
        "model = X",
    ],
)
def test_a_line_that_may_be_configuration_stays(line: str) -> None:
    assert routeros(f"{BODY}{line}\n").text == f"{BODY}{line}\n"


def test_line_endings_blanks_and_empty_lines_at_the_end_do_not_count() -> None:
    for text in (
        BODY.replace("\n", "\r\n"),
        BODY.replace("\n", "\r\r\n"),
        BODY.replace("\n", "\r"),
        BODY.replace("\n", " \t\n"),
        BODY.rstrip("\n"),
        BODY + "\n\r\n \n",
        "\ufeff" + BODY,
    ):
        assert routeros(text).text == BODY


def test_other_separators_do_not_end_a_line() -> None:
    text = '/system note\nset note="a\x85b\u2028c\x0cd\x0be"\n'
    assert routeros(text).text == text


@pytest.mark.parametrize(
    ("wrapped", "joined"),
    [
        ("set policy=read \\\n    write=x", "set policy=read write=x"),
        ("set ssid=\\\n    dennyhalim.com", "set ssid=dennyhalim.com"),
        ("set ranges=a,\\\n    b", "set ranges=a,b"),
        ('set policy="read,pas\\\n    sword,web"', 'set policy="read,password,web"'),
        ('set c="a\\\n     b"', 'set c="a b"'),
        ('set c="a\\\n    # b"', 'set c="a# b"'),
        ("set c=\\\n    # d=e", "set c=# d=e"),
        ('add source="x \\\\\\\n    \\n# y"', 'add source="x \\\\\\n# y"'),
        ("a=1 \\\n    b=2 \\\n    c=3", "a=1 b=2 c=3"),
        ("a=1 \\ \t\n    b=2", "a=1 b=2"),
    ],
)
def test_wrapped_lines_are_joined(wrapped: str, joined: str) -> None:
    for text in (wrapped, wrapped.replace("\n", "\r\n")):
        form = routeros(f"/ip x\n{text}\n# noise\n/y\n")
        assert form.text == f"/ip x\n{joined}\n/y\n"
        assert form.completeness == "complete"


@pytest.mark.parametrize(
    "text",
    [
        "a=1 \\\\\n    b=2\n",
        "a=1 \\\n   b=2\n",
        "a=1 \\\n\tb=2\n",
        "a=1 \\\nadd b=2\n",
        "a=1\n    b=2\n",
    ],
)
def test_what_is_not_wrapped_exactly_so_is_not_joined(text: str) -> None:
    form = routeros(text)
    assert form.text == text
    assert form.completeness == "complete"


def test_a_comment_line_is_not_wrapped() -> None:
    assert routeros(f"{BODY}# x \\\n    y=1\n").text == f"{BODY}    y=1\n"


def test_nothing_is_dropped_inside_a_string_over_real_newlines() -> None:
    text = '/system script\nadd source="first \n# second\n\n    third  \n" name=x\n'
    form = routeros(text + "# noise\n")
    assert form.text == text
    assert list(form.lines) == [("/system script", text.removeprefix("/system script\n").strip())]
    assert form.completeness == "complete"


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


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param(
            "/ip address\nadd address=1\nadd address=2\n",
            "/ip address\nadd address=2\nadd address=1\n",
            id="entries",
        ),
        pytest.param(
            "/ip address\nadd address=1\n/ip pool\nadd name=p\n",
            "/ip pool\nadd name=p\n/ip address\nadd address=1\n",
            id="menus",
        ),
        pytest.param(
            "/ip address\nadd address=1\nadd address=2\n/ip pool\nadd name=p\n",
            "/ip address\nadd address=1\n/ip pool\nadd name=p\n/ip address\nadd address=2\n",
            id="a menu in two parts",
        ),
        pytest.param(
            "/ip address\nadd address=1\nadd address=2\n",
            "/ip address add address=1\n/ip/address/add address=2\n",
            id="terse",
        ),
        pytest.param(
            "/ip service\nset ftp disabled=yes\nset api disabled=yes\n",
            "/ip service\nset api disabled=yes\nset ftp disabled=yes\n",
            id="settings of several things",
        ),
        pytest.param(
            "/interface bridge vlan\nadd bridge=b tagged=e1,e2 vlan-ids=7\n",
            "/interface bridge vlan\nadd bridge=b tagged=e2,e1 vlan-ids=7\n",
            id="members of a set",
        ),
        pytest.param(
            '/interface bridge vlan\nadd bridge=b comment="x tagged=b,a" tagged=e1,e2\n',
            '/interface bridge vlan\nadd bridge=b comment="x tagged=b,a" tagged=e2,e1\n',
            id="members of a set, beside a string",
        ),
        pytest.param(
            "/interface wifi\nset wifi1 configuration.mode=ap .ssid=x\n",
            "/interface wifi\nset wifi1 configuration.mode=ap configuration.ssid=x\n",
            id="a continued prefix",
        ),
        pytest.param(
            '/ip address\nadd comment="a b" address=1\n',
            '/ip address\nadd comment="a\\_b" address=1\n',
            id="a blank written as an escape, as at the beginning of a wrapped line",
        ),
        pytest.param("/ip address\n/ip pool\n", "", id="menus without a line"),
        pytest.param(
            '/interface ethernet\nset "a b" mtu=1\nset "a c" mtu=2\n',
            '/interface ethernet\nset "a c" mtu=2\nset "a b" mtu=1\n',
            id="settings of things with blanks in their names",
        ),
        pytest.param(
            '/port\nset [ find name="a ] b" ] a=1\nset [ find name="a ] c" ] a=2\n',
            '/port\nset [ find name="a ] c" ] a=2\nset [ find name="a ] b" ] a=1\n',
            id="settings of things that are looked for by odd names",
        ),
        pytest.param(
            '/ip dns static\nadd comment="see regexp=x" name=a\nadd name=b\n',
            '/ip dns static\nadd name=b\nadd comment="see regexp=x" name=a\n',
            id="a comment that speaks of patterns",
        ),
    ],
)
def test_what_may_be_written_in_several_ways_is_no_difference(one: str, two: str) -> None:
    assert routeros(one).text == routeros(two).text


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param(
            "/ip firewall filter\nadd action=accept\nadd action=drop\n",
            "/ip firewall filter\nadd action=drop\nadd action=accept\n",
            id="rules of which the first one wins",
        ),
        pytest.param(
            "/ip dns static\nadd name=a regexp=x\nadd name=b regexp=y\n",
            "/ip dns static\nadd name=b regexp=y\nadd name=a regexp=x\n",
            id="patterns of which the first one wins",
        ),
        pytest.param(
            "/ip dns static\nadd match-subdomain=yes name=a.b\nadd match-subdomain=yes name=b\n",
            "/ip dns static\nadd match-subdomain=yes name=b\nadd match-subdomain=yes name=a.b\n",
            id="names that stand for those below them",
        ),
        pytest.param(
            "/ip vrf\nadd interfaces=e5 name=mgmt\nadd interfaces=all name=a\n",
            "/ip vrf\nadd interfaces=all name=a\nadd interfaces=e5 name=mgmt\n",
            id="the order of vrfs: the first that has an interface takes it",
        ),
        pytest.param(
            "/routing bfd configuration\nadd forbid-bfd=yes interfaces=e1\nadd interfaces=static\n",
            "/routing bfd configuration\nadd interfaces=static\nadd forbid-bfd=yes interfaces=e1\n",
            id="the order of what BFD is to do",
        ),
        pytest.param(
            "/mpls interface\nadd interface=all mpls-mtu=1500\nadd interface=e1 mpls-mtu=1580\n",
            "/mpls interface\nadd interface=e1 mpls-mtu=1580\nadd interface=all mpls-mtu=1500\n",
            id="interfaces of mpls, of which the first that fits counts",
        ),
        pytest.param(
            '/ip pool\nset "p q" ranges=1\nset "p q" ranges=2\n',
            '/ip pool\nset "p q" ranges=2\nset "p q" ranges=1\n',
            id="one setting of a thing with a blank in its name, made twice",
        ),
        pytest.param(
            "/ip pool\nset p ranges=1\nset p ranges=2\n",
            "/ip pool\nset p ranges=2\nset p ranges=1\n",
            id="one setting, made twice",
        ),
        pytest.param(
            "/ip address\nremove [ find ]\nadd address=1\n",
            "/ip address\nadd address=1\nremove [ find ]\n",
            id="commands beside add and set",
        ),
        pytest.param(
            "/ip pool\nadd name=p ranges=2,1\n",
            "/ip pool\nadd name=p ranges=1,2\n",
            id="a list that is no set",
        ),
        pytest.param(
            '/ip pool\nadd comment="servers=2,1" name=p\n',
            '/ip pool\nadd comment="servers=1,2" name=p\n',
            id="a string that looks like a set",
        ),
        pytest.param(
            '/ip pool\nadd comment="a\\\\_b" name=p\n',
            '/ip pool\nadd comment="a\\\\ b" name=p\n',
            id="an escaped backslash before an underscore",
        ),
    ],
)
def test_what_means_something_is_a_difference(one: str, two: str) -> None:
    assert routeros(one).text != routeros(two).text


def test_what_was_equal_under_the_first_rules_is_compared_as_it_was() -> None:
    text = "# a\n/ip pool\nadd name=b\nadd name=a tagged=2,1\n/ip address\n"
    assert text_under("routeros/1", text) == text.removeprefix("# a\n")
    assert text_under("routeros/2", text) == "/ip pool\nadd name=a tagged=1,2\nadd name=b\n"
    assert text_under("plain/1", text) == text
    assert text_under("routeros/999", text) is None


def test_what_was_recorded_under_the_second_rules_is_compared_as_it_was() -> None:
    named = '/interface ethernet\nset "a c" mtu=2\nset "a b" mtu=1\nadd x=b\nadd x=a\n'
    mpls = "/mpls interface\nset a mpls-mtu=1\nadd interface=b\nadd interface=a\n"
    dns = '/ip dns static\nadd name=b\nadd comment=" regexp=x" name=a\n'
    assert text_under("routeros/2", named) == named
    assert text_under("routeros/2", dns) == dns
    lines = mpls.splitlines()
    assert text_under("routeros/2", mpls) == "\n".join([*lines[:2], lines[3], lines[2], ""])


@pytest.mark.parametrize("menu", ["/ip vrf", "/routing bfd configuration"])
def test_what_was_recorded_under_the_third_rules_is_compared_as_it_was(menu: str) -> None:
    text = f"{menu}\nadd interfaces=e5\nadd interfaces=all\n"
    in_order = f"{menu}\nadd interfaces=all\nadd interfaces=e5\n"
    assert text_under("routeros/3", text) == in_order
    assert text_under("routeros/2", text) == in_order
    assert text_under("routeros/4", text) == text
    rules = "/ip firewall filter\nadd chain=b\nadd chain=a\n"
    assert text_under("routeros/3", rules) == rules


def test_lines_know_their_sections_in_both_forms() -> None:
    sectioned = routeros(
        "/interface bridge\nadd name=b\n/ip firewall filter\nadd chain=input\nset 0 x=y\n"
    )
    terse = routeros(
        "/interface bridge add name=b\n/ip firewall filter add chain=input\n"
        "/ip/firewall/filter/set 0 x=y\n"
    )
    expected = [
        ("/interface bridge", "add name=b"),
        ("/ip firewall filter", "add chain=input"),
        ("/ip firewall filter", "set 0 x=y"),
    ]
    assert list(sectioned.lines) == expected
    assert list(terse.lines) == expected


@pytest.mark.parametrize(
    ("line", "section"),
    [
        ("/tool fetch url=http://canary", "/tool fetch"),
        ('/system script run "canary"', "/system script run"),
        ("/canary secret", ""),
        ("/ip Canary add x=1", "/ip"),
        ("/" + "ip " * 50, "/ip ip ip ip ip ip"),
        ("canary", ""),
    ],
)
def test_a_section_is_never_more_than_menu_words(line: str, section: str) -> None:
    assert {name for name, _ in routeros(f"{line}\nlast\n").lines} <= {section, ""}


def test_lines_are_counted_as_they_came() -> None:
    assert routeros(BY_LINE + BODY).line_count == 5
    assert routeros("").line_count == 0
    assert routeros("a").line_count == 1


# Properties: an export is made of logical lines; wrapping and noise are added at random.

_VALUE = st.text(alphabet='ab #=,;/[]$é\\"\n\r', max_size=60)


def _quoted(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "$": "\\$"}
    return '"' + "".join(escapes.get(char, char) for char in value) + '"'


_LOGICAL = st.builds(
    lambda key, value, last: f"add {key}={_quoted(value)} name={last}",
    st.sampled_from(["comment", "source", "on-event"]),
    _VALUE,
    st.sampled_from(["x", "ether1"]),
)
_EXPORT = st.lists(st.one_of(_LOGICAL, st.just("/ip address"), st.just("/system script")))
_NOISE = st.sampled_from(["# managed by CAPsMAN", '#"', "", "  ", "# x \\", "[admin@x] > "])
_UNIT = re.compile(r"\\.|.", re.DOTALL)


@st.composite
def _disguised(draw: st.DrawFn) -> tuple[list[str], str]:
    logical = draw(_EXPORT)
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    physical = draw(st.lists(_NOISE, max_size=2))
    for line in logical:
        parts = [""]
        for unit in _UNIT.findall(line):
            # A cut stands after a blank only inside of a line that goes on.
            if parts[-1] and not line.startswith("/") and draw(st.integers(0, 15)) == 0:
                parts.append("")
            parts[-1] += unit
        physical += [
            ("    " if index else "") + part + ("\\" if index < len(parts) - 1 else "")
            for index, part in enumerate(parts)
        ]
        physical += draw(st.lists(_NOISE, max_size=2))
    return logical, newline.join(physical) + draw(st.sampled_from(["", newline]))


@given(_disguised())
def test_wrapping_noise_and_line_endings_never_change_the_form(
    made: tuple[list[str], str],
) -> None:
    logical, text = made
    form = routeros(text)
    assert list(form.logical) == logical
    assert form.completeness == "complete" or logical[-1].startswith("/")


@given(st.text(alphabet='a \\"\n\r/;\t', max_size=80))
def test_nothing_but_blanks_and_wraps_is_ever_lost_of_configuration(text: str) -> None:
    form = routeros(text)
    kept = "\n".join(form.logical)
    assert re.sub(r"[\s\\]", "", kept) == re.sub(r"[\s\\]", "", text)
    assert kept.count("\\") >= text.count("\\") - text.count("\n") - text.count("\r")
    assert routeros(text.replace("\r\n", "\n")).text == form.text


_PIECES = (
    "/ip address\n", "add a=1\n", "set x=2\n", "# c\n", "#", "\\\n", "\\\\\n", "\\\n    ", "    ",
    '"', '\\"', 'add c="x', '"\n', " ", "\n", "\t", "[a@b] > \n", "# by RouterOS 7.1\n", "\\", "é",
    "by RouterOS 7.2\n", "#error exporting /ip route\n", "#interrupted\n", "\r\n",
    "/ip route\n", 'add b="q"\n',
)  # fmt: skip


@given(
    st.sampled_from(["", "# by RouterOS 7.1\n/ip address\n"]),
    st.lists(st.sampled_from(_PIECES), max_size=14),
)
def test_reading_in_bulk_and_line_by_line_are_one(begin: str, pieces: list[str]) -> None:
    text = begin + "".join(pieces)
    form = routeros(text)
    assume(not form.cut)
    # A line that begins with a blank is for the slow way; one of nothing else means nothing.
    slow = routeros(f"{text}\n \n")
    assert slow == msgspec.structs.replace(form, line_count=slow.line_count, unfinished=False)


@given(
    st.lists(st.sampled_from((*_PIECES, "/ip/route/add b=1\n", "/ip route set 0\n")), max_size=14)
)
def test_lines_by_section_are_the_lines_with_their_sections(pieces: list[str]) -> None:
    text = "# by RouterOS 7.1\n/ip address\n" + "".join(pieces)
    form = logical_form(text)
    sections: dict[str, list[str]] = {}
    for section, line in form.sure_lines:
        sections.setdefault(section, []).append(line)
    assert form.by_section == sections
    canonical = routeros(text)
    assert msgspec.structs.asdict(form).items() <= msgspec.structs.asdict(canonical).items()


@given(st.lists(st.sampled_from(_PIECES), max_size=14))
def test_every_line_of_a_form_is_where_it_is_said_to_stand(pieces: list[str]) -> None:
    text = "# by RouterOS 7.1\n/ip address\n" + "".join(pieces)
    form = routeros(text)
    physical = physical_lines(text)
    spans = origins(text)
    assert len(spans) == len(form.logical)
    end = 0
    for line, (first, after) in zip(form.logical, spans, strict=True):
        assert end <= first < after
        end = after
        joined = "".join(physical[first:after])
        assert re.sub(r"[\s\\]", "", line) == re.sub(r"[\s\\]", "", joined)


@given(st.text(alphabet='a# \\"\n\r/[]@>\t', max_size=80))
def test_any_text_has_a_form(text: str) -> None:
    form = routeros(text)
    assert "\r" not in form.text
    assert all(line.strip() for line in form.logical)
    assert text_under(form.rules, text) == form.text
    assert form.cut <= (form.completeness == "partial")
    assert (form.completeness == "partial") == bool(form.warnings)


@pytest.mark.parametrize(
    ("text", "version", "platform"),
    [
        ("hostname r1\n", "7.14", "routeros"),
        ("hostname r1\n", "", "text"),
        (BY_LINE + "anything", None, "routeros"),
        (BODY, None, "routeros"),
        ("\ufeff\r\n# x\r\n/ip/address\r\n", None, "routeros"),
        ("[admin@x] > /export\n/ip address\n", None, "routeros"),
        ("2024-01-15 10:30:00 by RouterOS 7.14\n", None, "routeros"),
        ("/usr/bin/env x\n", None, "text"),
        ("/export\n", None, "text"),
        ("# comment\ninterface eth0\n/ip address\n", None, "text"),
        ("! made by RouterOS experts, not a router\nhostname x\n", None, "text"),
        ("", None, "text"),
        ("# only comments\n", None, "text"),
        ("set system host-name x\n# by RouterOS 7.1\n", None, "text"),
    ],
)
def test_the_platform_is_only_taken_for_routeros_when_it_shows(
    text: str, version: str | None, platform: str
) -> None:
    assert detect_platform(text, version) == platform
