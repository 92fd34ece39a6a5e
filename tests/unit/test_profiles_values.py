"""Values over several lines on other platforms, and what proves that a text was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.comparing import Job, compare
from domain.canonical import Canonical, canonicalise, text_under
from domain.canonical.profiled import rules_1
from domain.profiles import PROFILES
from domain.semantic.told import ToldDiff

# A text with one value, in which a line stands that looks like noise.
INSIDE = {
    "ios": "hostname a\nbanner motd ^C\n{}\n^C\ninterface lo\n shutdown\nend\n",
    "ios ctrl-c": "hostname a\nbanner motd \x03\n{}\n\x03\ninterface lo\n shutdown\nend\n",
    "ios menu": "menu m title ^C\n{}\n^C\nend\n",
    "ios macro": "macro name m\n{}\n@\nend\n",
    "eos": "hostname a\nbanner motd\n{}\nEOF\ninterface lo\n   shutdown\nend\n",
    "eos handler": "event-handler h\n   action bash\n{}\n      EOF\n   trigger on-boot\nend\n",
    "junos": 'system {{\n    message "one\n{}\ntwo \\" {{";\n}}\nsnmp {{\n    name a;\n}}\n',
    "junos note": "system {{\n    /* don't\n{}\n*/\n    host-name a;\n}}\n",
    "vyos": "set system login banner post-login 'it's\n{}\n'\nset system host-name 'a'\n",
    "openwrt": "package a\n\nconfig b 'c' # don't\n\toption d 'it'\\''s\n{}\n'\n\toption e 'f'\n",
    "openwrt double": 'package a\n\nconfig b\n\toption d "e \\" \n{}\n"\n\toption e \'f\'\n',
    "fortios": 'config a\n    edit "b"\n        set buffer "<p>\n{}\n</p>"\n    next\nend\n',
    "fortios single": 'config a\n    edit "b"\n        set c \'d "e\n{}\n\'\n    next\nend\n',
}
NOISE = {
    "ios": ("! 1", "ntp clock-period 1", "", "r1#", "x  "),
    "eos": ("! 1", "! Time: 1", "", "r1#", "x  "),
    "junos": ("# 1", "## Last commit: 1", "", "x  "),
    "vyos": ("ada@gw:~$ 1", "", "x  "),
    "openwrt": ("# 1", "root@x: 1", "", "x  "),
    "fortios": ("# 1", "#buildno=1", "Current Time 1", "", "x  "),
}
CASES = [(case, noise) for case in INSIDE for noise in NOISE[case.split()[0]]]


def form(text: str, platform: str) -> Canonical:
    return canonicalise(text, platform)


def told(before: str, after: str, platform: str) -> ToldDiff:
    found = compare(Job(before.encode(), after.encode(), platform, b"k" * 32, "r1", ())).told
    assert found is not None
    return found


@pytest.mark.parametrize(("case", "noise"), CASES)
def test_nothing_is_dropped_inside_of_a_value(case: str, noise: str) -> None:
    platform = case.split()[0]
    text = INSIDE[case]
    with_it, without = text.format(f"a\n{noise}\nb"), text.format("a\nb")
    assert form(with_it, platform).text != form(without, platform).text
    assert f"a\n{noise}\nb\n" in form(with_it, platform).text
    assert form(with_it, platform).completeness == "complete"
    assert form(with_it.replace("\n", "\r\n"), platform).text == form(with_it, platform).text
    changes = told(with_it, without, platform).changes
    assert {one.kind for one in changes} == {"added", "removed"}
    assert len(changes) == 2


@pytest.mark.parametrize("case", INSIDE)
def test_outside_of_values_noise_is_dropped_as_ever(case: str) -> None:
    platform = case.split()[0]
    text = INSIDE[case].format("a")
    noise = [one for one in NOISE[platform] if one != "x  "]
    assert form("\n".join([*noise, text, *noise]), platform).text == form(text, platform).text


@pytest.mark.parametrize("case", INSIDE)
def test_what_stands_in_a_value_opens_and_closes_no_section(case: str) -> None:
    platform = case.split()[0]
    lines = ["config x", "end", "}", "{", "  deep", "package q", "interface q", "banner motd #"]
    plain, odd = (form(INSIDE[case].format(one), platform) for one in ("a", "\n".join(lines)))
    assert [section for section, _ in plain.lines] == [section for section, _ in odd.lines]
    assert odd.completeness == "complete"


@pytest.mark.parametrize("case", INSIDE)
def test_a_text_that_ends_inside_of_a_value_is_partial(case: str) -> None:
    platform = case.split()[0]
    whole = INSIDE[case].format("a")
    cut = form(whole[: whole.index("\na\n") + 2], platform)
    assert (cut.completeness, cut.cut) == ("partial", True)
    assert cut.warnings == ("ends inside a value",)


@pytest.mark.parametrize("platform", PROFILES)
def test_published_rules_keep_their_meaning(platform: str) -> None:
    profile = PROFILES[platform]
    text = f"a\n{profile.comment or 'x'} b\n\n  c  \nbanner motd ^C\n! d\n^C\n"
    kept = ["x b"] if not profile.comment else []
    assert text_under(rules_1(profile), text) == "\n".join(
        ["a", *kept, "  c", "banner motd ^C", "! d", "^C", ""]
    )


def test_a_comment_that_the_device_keeps_is_configuration() -> None:
    text = "interface Ethernet1\n   !! uplink\n   shutdown\nend\n"
    assert form(text, "eos").text == text
    assert text_under("eos/1", text) == text.replace("   !! uplink\n", "")


def test_only_what_is_salted_is_left_out() -> None:
    text = 'config a\n    set b ENC X\n    set c "the ENC word"\nend\n'
    same = form(text.replace("ENC X", "ENC Y"), "fortios")
    assert same.text == form(text, "fortios").text
    assert form(text.replace("word", "text"), "fortios").text != form(text, "fortios").text
    key = (
        '    set k "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----"'
    )
    one, two = (form(f"config a\n{key.format(body)}\nend\n", "fortios") for body in "ab")
    assert one.text == two.text


WHOLE = {
    "ios": "Building configuration...\n\nCurrent configuration : 9 bytes\n!\nhostname a\n!\nend\n",
    "eos": "! Command: show running-config\n! Time: now\n!\nhostname a\n!\nend\n",
    "frr": "Building configuration...\n\nCurrent configuration:\n!\nhostname a\n!\nend\n",
}


@pytest.mark.parametrize("platform", WHOLE)
def test_without_the_last_line_that_the_command_writes_a_text_is_partial(platform: str) -> None:
    whole = WHOLE[platform]
    for complete in (whole, whole.rstrip(), f"{whole}r1#\n", whole.replace("\n", "\r\n")):
        assert form(complete, platform).completeness == "complete"
    for cut in (whole.replace("end\n", ""), whole.replace("end\n", "en"), whole + "hostname b\n"):
        assert form(cut, platform).warnings == ("its last line is missing",)
    # Kept by a tool that cleans texts: nothing says that it should have a last line.
    assert form("hostname a\n", platform).completeness == "complete"


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ("junos", "a {\n    b;\n    c {\n        d;\n    }\n"),
        ("fortios", "config a\n    set b c\n"),
    ],
)
def test_a_block_that_is_not_closed_makes_a_text_partial(platform: str, text: str) -> None:
    assert form(text, platform).warnings == ("ends inside a block",)
    closed = {"junos": "}\n", "fortios": "end\n"}[platform]
    assert form(text + closed, platform).completeness == "complete"


def test_what_a_cut_text_lacks_is_not_told_as_removed_nor_later_as_added() -> None:
    whole = "a {\n    b 1;\n    c 1;\n}\nd {\n    e 1;\n    f 1;\n}\ng {\n    h 1;\n}\n"
    cut = "a {\n    b 1;\n}\nd {\n    e 2;\n"
    found = told(whole, cut, "junos")
    # The line in which it was cut is no fact, although it looks whole.
    assert [one.sentence for one in found.changes] == ["a: 'c 1;' removed"]
    assert found.notes == (
        "an incomplete text says too little: 4 lines that may only be missing there are not told "
        "as changes",
        "an incomplete text ends in the middle: its last line is told of in no way",
    )
    back = told(cut, whole, "junos")
    assert [one.sentence for one in back.changes] == ["a: 'c 1;' added"]


@pytest.mark.parametrize("platform", PROFILES)
@given(st.text(alphabet="ab \n\t\"'\\#!/*{}^C;", max_size=80))
def test_the_form_of_a_form_is_itself(platform: str, text: str) -> None:
    once = form(text, platform)
    assert form(once.text, platform).text == once.text


@pytest.mark.parametrize(
    ("platform", "text", "noise"),
    [
        (
            "ios",
            "hostname r1\nend\n",
            [
                "Load for five secs: 1%/0%; one minute: 2%; five minutes: 2%",
                "Time source is NTP, 10:11:12.123 UTC Mon Mar 2 2026",
                "No time source, *10:11:12.123 UTC Mon Mar 2 2026",
            ],
        ),
        (
            "junos",
            "system {\n    host-name r1;\n}\n",
            [
                "{master:0}",
                "{backup}",
                "{primary:node0}",
                "ada@r1> show configuration | no-more",
                "ada@r1-re0> ",
            ],
        ),
    ],
)
def test_what_version_3_knows_to_say_nothing_counts_under_the_rules_before(
    platform: str, text: str, noise: list[str]
) -> None:
    assert PROFILES[platform].rules == f"{platform}/3"
    for line in noise:
        for noisy in (f"{line}\n{text}", f"{text}{line}\n"):
            assert form(noisy, platform).text == text
            for before in (f"{platform}/1", f"{platform}/2"):
                assert text_under(before, noisy) == noisy.replace(f"{line}\n", f"{line.rstrip()}\n")


def test_what_only_looks_like_it_is_configuration() -> None:
    for platform, line in (
        ("ios", "ntp source Loopback0"),
        ("ios", " description Load for five secs: x"),
        ("junos", "    user ada@r1> {"),
        ("junos", 'message "{master:0}\n{backup}\n";'),
    ):
        assert line in form(f"{line}\n", platform).text
