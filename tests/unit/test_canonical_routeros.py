"""The canonical form of RouterOS exports: noise goes, configuration stays."""

from __future__ import annotations

import pytest

from domain.canonical import detect_platform
from tests.routeros_texts import BODY, BY_LINE, routeros


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
