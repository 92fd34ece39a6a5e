"""Lists whose order is configuration, on platforms with a profile: what moved is told as that."""

from __future__ import annotations

import pytest

from adapters.comparing import Job, compare, summed_up
from domain.semantic.told import ToldDiff

ACL = (
    "ip access-list extended management\n permit tcp 10.0.0.0 0.0.0.255 any eq 22\n"
    " permit tcp 10.9.0.0 0.0.0.255 any eq 22\n deny ip any any\nend\n"
)
NUMBERED = (
    "ip access-list management\n   10 permit tcp 10.0.0.0/24 any eq ssh\n"
    "   20 permit tcp 10.9.0.0/24 any eq ssh\n   30 deny ip any any\nend\n"
)
ROUTE_MAP = (
    "route-map out permit 10\n match ip address one\nroute-map out deny 20\n match ip address two\n"
    "end\n"
)
JUNOS = (
    "firewall {\n    family inet {\n        filter protect {\n            term ssh {\n"
    "                then accept;\n            }\n            term rest {\n"
    "                then discard;\n            }\n        }\n    }\n}\n"
)
ZONES = (
    "security {\n    policies {\n        from-zone a to-zone b {\n            policy one {\n"
    "                then deny;\n            }\n            policy two {\n"
    "                then permit;\n            }\n        }\n    }\n}\n"
)
SSH, REST = "term ssh {\n                then accept", "term rest {\n                then discard"
ONE, TWO = "policy one {\n                then deny", "policy two {\n                then permit"
FORTIOS = (
    'config firewall policy\n    edit 1\n        set name "a"\n    next\n    edit 2\n'
    '        set name "b"\n    next\n    edit 3\n        set name "c"\n    next\nend\n'
)
OPENWRT = (
    "package firewall\n\nconfig rule\n\toption name 'Allow-Ping'\n\toption target 'ACCEPT'\n\n"
    "config rule\n\toption name 'Drop'\n\toption target 'DROP'\n\nconfig zone\n"
    "\toption name 'lan'\n"
)


def swapped(text: str, one: str, two: str) -> str:
    """The text with two of its pieces each in the other's place."""
    assert text.count(one) == 1
    assert text.count(two) == 1
    return text.replace(one, "\0").replace(two, one).replace("\0", two)


# Before, after, and the section and sentence of what is told, with tags of risks.
MOVES: dict[str, tuple[str, str, str, str, set[str]]] = {
    "an access list of ios": (
        ACL,
        ACL.replace(" deny ip any any\n", "").replace(
            "management\n", "management\n deny ip any any\n"
        ),
        "ip access-list extended management",
        "'deny ip any any' moved from 3 to 1",
        {"protection"},
    ),
    "an access list of eos, with numbers": (
        NUMBERED,
        swapped(NUMBERED, "permit tcp 10.9.0.0/24 any eq ssh", "deny ip any any"),
        "ip access-list management",
        "'permit tcp 10.9.0.0/24 any eq ssh' moved from 2 to 3",
        {"protection"},
    ),
    "a numbered access list of ios": (
        "access-list 10 permit 10.0.0.0\naccess-list 20 permit any\naccess-list 10 deny any\nend\n",
        "access-list 10 deny any\naccess-list 20 permit any\naccess-list 10 permit 10.0.0.0\nend\n",
        "access-list",
        "'access-list 10 permit 10.0.0.0' moved from 1 to 2",
        {"protection"},
    ),
    "a route map of frr": (
        ROUTE_MAP,
        "".join(
            f"{piece}\n"
            for piece in (*ROUTE_MAP.split("\n")[2:4], *ROUTE_MAP.split("\n")[:2], "end")
        ),
        "route-map",
        "'route-map out permit 10' moved from 1 to 2",
        set(),
    ),
    "a term of junos": (
        JUNOS,
        swapped(JUNOS, SSH, REST),
        "firewall > family inet > filter protect",
        "'term ssh' moved from 1 to 2",
        {"protection"},
    ),
    "a policy of junos": (
        ZONES,
        swapped(ZONES, ONE, TWO),
        "security > policies > from-zone a to-zone b",
        "'policy one' moved from 1 to 2",
        {"protection"},
    ),
    "a policy of fortios": (
        FORTIOS,
        swapped(FORTIOS, 'edit 1\n        set name "a"', 'edit 3\n        set name "c"').replace(
            'edit 2\n        set name "b"\n    next\n    edit 1\n        set name "a"',
            'edit 1\n        set name "a"\n    next\n    edit 2\n        set name "b"',
        ),
        "config firewall policy",
        "'edit 3' moved from 3 to 1",
        {"protection"},
    ),
    "a rule of openwrt without a name of its own": (
        OPENWRT,
        swapped(
            OPENWRT,
            "name 'Allow-Ping'\n\toption target 'ACCEPT'",
            "name 'Drop'\n\toption target 'DROP'",
        ),
        "package firewall",
        "'config rule 'Allow-Ping'' moved from 1 to 2",
        {"protection"},
    ),
}
PLATFORMS = {"list of eos": "eos"} | {one: one for one in ("frr", "junos", "fortios", "openwrt")}


def platform_of(case: str) -> str:
    return next((name for part, name in PLATFORMS.items() if part in case), "ios")


def told(before: str, after: str, platform: str) -> ToldDiff:
    found = compare(Job(before.encode(), after.encode(), platform, b"k" * 32, "r1", ()))
    assert found.told is not None
    return found.told


@pytest.mark.parametrize("case", MOVES)
def test_an_entry_of_an_ordered_list_that_moved_is_told_with_its_places(case: str) -> None:
    before, after, section, sentence, tags = MOVES[case]
    platform = platform_of(case)
    found = told(before, after, platform)
    [change] = found.changes
    assert change.sentence in (sentence, f"{section}: {sentence}")
    assert (change.section, change.kind) == (section, "moved")
    assert {risk.tag for risk in change.risks} == tags
    assert f"from {change.position_before} to {change.position_after}" in sentence
    [summary], more = summed_up(found, platform)
    assert (summary.kind, summary.count, more) == ("moved", 1, 0)


def test_what_came_into_an_ordered_list_or_went_from_it_is_told_with_its_place() -> None:
    more = ACL.replace(" deny ip", " permit icmp any any\n deny ip")
    [added] = told(ACL, more, "ios").changes
    assert added.sentence.endswith("'permit icmp any any' added at 3")
    assert (added.position_before, added.position_after) == (None, 3)
    [removed] = told(more, ACL, "ios").changes
    assert removed.sentence.endswith("'permit icmp any any' removed, which was at 3")
    assert (removed.position_before, removed.position_after) == (3, None)
    whole = told("hostname a\nend\n", f"hostname a\n{ACL}", "ios")
    assert [one.position_after for one in whole.changes] == [None, 1, 2, 3]


def test_what_moved_and_changed_is_told_as_both() -> None:
    _, after, *_ = MOVES["a policy of fortios"]
    found = told(FORTIOS, after.replace('"c"', '"d"'), "fortios")
    assert [one.sentence for one in found.changes] == [
        "config firewall policy: 'edit 3' moved from 3 to 1",
        "config firewall policy > edit 3: 'set name \"c\"' removed",
        "config firewall policy > edit 3: 'set name \"d\"' added",
    ]


def test_entries_that_only_have_another_number_are_a_note() -> None:
    other = NUMBERED.replace("   20 ", "   15 ").replace("   30 ", "   40 ")
    found = told(NUMBERED, other, "eos")
    assert found.changes == ()
    assert found.notes == ("2 entries have another number, at the same place",)


def test_a_change_in_one_of_many_alike_is_told_under_its_name() -> None:
    other = OPENWRT.replace("'DROP'", "'REJECT'")
    assert [one.sentence for one in told(OPENWRT, other, "openwrt").changes] == [
        "package firewall > config rule 'Drop': 'option target 'DROP'' removed",
        "package firewall > config rule 'Drop': 'option target 'REJECT'' added",
    ]


def test_what_stands_in_no_ordered_list_does_not_move() -> None:
    text = "interface a\n shutdown\ninterface b\n shutdown\nend\n"
    other = "interface b\n shutdown\ninterface a\n shutdown\nend\n"
    found = told(text, other, "ios")
    assert (found.changes, found.notes) == ((), ("only the order of lines changed",))
