"""Platforms with a profile: noise is dropped, secrets are hidden, changes are told by path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.comparing import Job, compare, summed_up
from domain.canonical import canonicalise, text_under
from domain.profiles import PROFILES
from domain.redaction import Redactor, redacted
from domain.semantic.policy import PolicyRule

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
REDACTOR = Redactor(b"k" * 32, "r1")
# Another reading of the same configuration.
NOISE = {
    "ios": [("1843 bytes", "1844 bytes"), ("10:11:12", "22:00:00"), ("17180152", "17180199")],
    "eos": [("10:11:12", "22:00:00")],
    "junos": [("10:11:12", "22:00:00"), ("scale-subscriber 10", "scale-subscriber 11")],
    "vyos": [("set service ssh", "ada@gw-1:~$ \nset service ssh")],
    "openwrt": [("package wireless\n", "package wireless\n\n")],
    "fortios": [
        ("build1517", "build1518"),
        ("#conf_file_ver=1", "#conf_file_ver=2"),
        ("ENC SH2", "ENC SH2xyz"),
    ],
    "frr": [("10:11:12", "22:00:00")],
}
# An edit, the section that an event names, and what is told.
EDITS = {
    "ios": (
        (" shutdown\n", ""),
        "interface",
        ["interface GigabitEthernet0/2: 'shutdown' removed"],
    ),
    "eos": (
        ("description spine", "description leaf"),
        "interface",
        [
            "interface Ethernet1: 'description spine' removed",
            "interface Ethernet1: 'description leaf' added",
        ],
    ),
    "junos": (
        ("192.0.2.1/30", "192.0.2.5/30"),
        "interfaces",
        [
            f"interfaces > ge-0/0/0 > unit 0 > family inet: 'address {address};' {kind}"
            for address, kind in (("192.0.2.1/30", "removed"), ("192.0.2.5/30", "added"))
        ],
    ),
    "vyos": (
        ("set service ssh port '22'\n", ""),
        "service",
        ["service > ssh: 'set service ssh port '22'' removed"],
    ),
    "openwrt": (
        ("example-office", "example-house"),
        "package wireless",
        [
            f"package wireless > config wifi-iface 'office': 'option ssid '{ssid}'' {kind}"
            for ssid, kind in (("example-office", "removed"), ("example-house", "added"))
        ],
    ),
    "fortios": (
        ("set action deny", "set action accept"),
        "config firewall",
        [
            f"config firewall policy > edit 2: 'set action {action}' {kind}"
            for action, kind in (("deny", "removed"), ("accept", "added"))
        ],
    ),
    "frr": (
        (" neighbor 192.0.2.2 remote-as 64501\n", ""),
        "router bgp",
        ["router bgp 64500: 'neighbor 192.0.2.2 remote-as 64501' removed"],
    ),
}


def sample(platform: str) -> str:
    return (SAMPLES / f"{platform}.txt").read_text()


def edited(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def job(before: str, after: str, platform: str) -> Job:
    return Job(before.encode(), after.encode(), platform, b"k" * 32, "r1", ())


@pytest.mark.parametrize("platform", PROFILES)
def test_noise_is_no_change(platform: str) -> None:
    text = sample(platform)
    other = text
    for old, new in NOISE[platform]:
        other = edited(other, old, new)
    form = canonicalise(text, platform)
    assert form.rules == PROFILES[platform].rules
    assert canonicalise(other.replace("\n", "\r\n"), platform).text == form.text
    assert text_under(form.rules, other) == form.text
    assert text_under("plain/1", other) != text_under("plain/1", text)


@pytest.mark.parametrize("platform", PROFILES)
def test_an_edit_is_told_under_its_path_and_summed_up_by_its_section(platform: str) -> None:
    (old, new), section, sentences = EDITS[platform]
    text = sample(platform)
    found = compare(job(text, edited(text, old, new), platform))
    assert found.told is not None
    assert [one.sentence for one in found.told.changes] == sentences
    changes, more = summed_up(found.told, platform)
    assert {one.section for one in changes} == {section}
    assert (sum(one.count for one in changes), more) == (len(sentences), 0)
    assert {one.section for one in found.sections} == {section}


@pytest.mark.parametrize("platform", PROFILES)
def test_no_secret_is_left_and_nothing_else_is_touched(platform: str) -> None:
    text = sample(platform)
    assert "CANARY" in text
    shown = redacted(text, platform, REDACTOR)
    assert "CANARY" not in shown
    for before, after in zip(text.split("\n"), shown.split("\n"), strict=True):
        if "PRIVATE KEY" in before:
            continue
        assert (before == after) == ("CANARY" not in before), before
        if "CANARY" in before:
            assert re.search(r"<secret(?::[0-9a-f]{8})?>", after)
            kept = re.split(r"<secret(?::[0-9a-f]{8})?>", after)
            assert before.startswith(kept[0])
            assert before.endswith(kept[-1])
    assert redacted(shown, platform, REDACTOR) == shown


@pytest.mark.parametrize("platform", PROFILES)
def test_changed_secrets_are_told_without_them(platform: str) -> None:
    text = sample(platform)
    found = compare(job(text, text.replace("CANARY", "GEHEIM"), platform))
    assert found.told is not None
    # A FortiGate salts all of these anew at each reading: whether they changed can't be known.
    assert bool(found.told.changes) == (platform != "fortios")
    assert "CANARY" not in str(found.told)
    assert "GEHEIM" not in str(found.told)
    assert "CANARY" not in str(summed_up(found.told, platform))


def test_a_banner_is_kept_whole() -> None:
    text = sample("ios")
    other = edited(text, "! keep out", "! come in")
    assert canonicalise(text, "ios").text != canonicalise(other, "ios").text


def test_only_another_order_is_told_as_that() -> None:
    text = "hostname a\ninterface b\n shutdown\n mtu 9000\nend\n"
    found = compare(job(text, edited(text, " shutdown\n mtu 9000", " mtu 9000\n shutdown"), "ios"))
    assert found.told is not None
    assert found.told.notes == ("only the order of lines changed",)


def test_the_order_of_set_lines_means_nothing_but_that_of_values_of_one_thing() -> None:
    text = sample("vyos") + "set system name-server '1.1.1.1'\nset system name-server '9.9.9.9'\n"
    backwards = "".join(reversed(sample("vyos").splitlines(keepends=True)))
    other = text.replace(sample("vyos"), backwards)
    form = canonicalise(text, "vyos")
    assert form.rules == "vyos/3"
    assert canonicalise(other, "vyos").text == form.text
    assert text_under("vyos/2", other) != text_under("vyos/2", text)
    assert text_under("vyos/2", text) == text
    swapped = edited(
        text, "1.1.1.1'\nset system name-server '9", "9.9.9.9'\nset system name-server '1"
    )
    assert canonicalise(swapped, "vyos").text != form.text


def test_a_policy_says_how_lines_are_told() -> None:
    rules = (PolicyRule(section="ntp", level="ignore", platform="ios"),)
    before = "hostname a\nntp server 192.0.2.1\n"
    after = "hostname b\nntp server 192.0.2.2\n"
    for platform, levels in (("ios", {"ignore", "report"}), ("eos", {"report"})):
        found = compare(replace(job(before, after, platform), policy=rules))
        assert found.told is not None
        assert {one.level for one in found.told.changes} == levels


def test_a_long_line_is_cut_with_a_mark_by_which_two_that_begin_alike_differ() -> None:
    long = "alias exec x " + "y " * 200
    found = compare(job(f"{long}a\n", f"{long}b\n", "ios"))
    assert found.told is not None
    entries = [one.entry for one in found.told.changes]
    assert len(entries) == len(set(entries)) == 2
    for entry in entries:
        assert len(entry) == 200
        assert re.search(r"… \(cut: 414 characters in all, <hidden:[0-9a-f]{8}>\)$", entry)
