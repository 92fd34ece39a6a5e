"""Notes, risks, levels, upgrades, incomplete exports, bounds, and what may be in an event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import ChangeSummary
from domain.redaction import Redactor
from domain.routeros.menus import MENUS
from domain.semantic.comparing import compare
from domain.semantic.policy import DEFAULT, PolicyRule
from domain.semantic.summary import MOST_SUMMARIES, summaries
from domain.semantic.telling import MOST_CHANGES, tell
from domain.semantic.told import ToldDiff, decode, encode
from tests.exports import form_of

REDACTOR = Redactor(b"k" * 32, "r1")


def told(before: str, after: str, *rules: PolicyRule) -> ToldDiff:
    return tell(compare(form_of(before), form_of(after)), REDACTOR, (*rules, *DEFAULT))


def by_version(text: str, version: str) -> str:
    return f"# 2026-01-01 00:00:00 by RouterOS {version}\n{text}"


PORTS = "/interface bridge port\n" + "".join(
    f"add bridge=b interface=ether{n}{{}}\n" for n in range(2, 7)
)


def test_what_an_upgrade_writes_anew_is_told_apart() -> None:
    before = by_version(PORTS.format(*[""] * 5), "7.12")
    after = by_version(PORTS.format(*[" hw=yes"] * 4, " hw=no pvid=7"), "7.14")
    changes = told(before, after).changes
    assert [(one.after_upgrade, one.entry) for one in changes] == [
        *[(True, f"ether{n}") for n in range(2, 6)],
        (False, "ether6"),
    ]
    assert told(before, after).upgrade == "7.12 to 7.14"
    same_version = told(before, after.replace("7.14", "7.12"))
    assert not any(one.after_upgrade for one in same_version.changes)


RULES = "/ip firewall filter\n" + "".join(
    f"add chain=input comment=c{n} dst-port={n}{{0}} protocol=tcp\n" for n in range(1, 5)
)


@pytest.mark.parametrize("lost", [" action=drop", " src-address-list=admins"])
def test_what_all_entries_lose_on_the_day_of_an_upgrade_is_no_default(lost: str) -> None:
    before = by_version(RULES.format(lost), "7.14")
    after = by_version(RULES.format(""), "7.15")
    changes = told(before, after).changes
    assert len(changes) == 4
    assert not any(one.after_upgrade for one in changes)
    assert all(one.risks for one in changes)


def test_many_properties_of_one_entry_take_no_memory_by_their_square() -> None:
    many = " ".join(f"p{n}={n}" for n in range(20_000))
    before = by_version(f"/ip firewall filter\nadd {many} x=1\n", "7.14")
    after = by_version(f"/ip firewall filter\nadd {many} x=2\n", "7.14")
    [change] = told(before, after).changes
    assert change.kind == "modified"


def test_a_menu_below_one_that_stopped_answering_may_be_there_in_part() -> None:
    rules = "/ip firewall filter\nadd chain=input comment=a\n"
    whole = by_version(rules + "add chain=input comment=b\n", "7.14")
    partial = by_version(rules + '#error exporting "/ip/firewall" (timeout)\n', "7.14")
    assert told(whole, partial).changes == ()


ADDRESS = "/ip address\nadd address=10.0.0.1/24 interface=e\n"
POOL = "/ip pool\nadd name=p ranges=10.0.0.2\nadd name=q ranges=10.0.1.2\n"


@pytest.mark.parametrize(
    "partial",
    [
        pytest.param(ADDRESS + '#error exporting "/ip/pool" (timeout)\n', id="a menu is missing"),
        pytest.param(
            ADDRESS + POOL.split("add name=q")[0] + '#error exporting "/ip/pool" (timeout)\n',
            id="a menu stopped answering",
        ),
        pytest.param(ADDRESS + POOL.split("add name=q")[0] + "add name=\\", id="the tail is cut"),
        pytest.param(ADDRESS + '/ip pool\nadd name="p', id="cut in a string"),
        pytest.param(ADDRESS + "/ip pool\\", id="cut before the menu"),
    ],
)
def test_what_an_incomplete_export_lacks_is_not_told_as_removed(partial: str) -> None:
    whole = ADDRESS + POOL
    there, back = told(whole, partial), told(partial, whole)
    assert not [one for one in there.changes if one.kind == "removed"]
    assert not [one for one in back.changes if one.kind == "added"]
    assert any("incomplete export" in note for note in there.notes)


def test_the_second_part_of_a_menu_may_be_what_was_cut_off() -> None:
    parted = "/ip pool\nadd name=p\n/ip address\nadd address=1\n/ip pool\nadd name=q\n"
    cut = "/ip pool\nadd name=p\n/ip address\nadd address=\\"
    assert not [one for one in told(parted, cut).changes if one.kind == "removed"]


def test_changes_in_an_incomplete_export_that_are_sure_are_told() -> None:
    partial = ADDRESS.replace("=e", "=f") + '#error exporting "/ip/pool" (timeout)\n'
    assert [one.sentence for one in told(ADDRESS + POOL, partial).changes] == [
        "ip address 10.0.0.1/24 moved from e to f"
    ]


def test_what_is_only_written_differently_is_a_note() -> None:
    found = told("/ip pool\nadd name=p ranges=1\n", "/ip pool\nadd ranges=1 name=p\n")
    assert not found.changes
    assert found.notes == ("ip pool: 1 line written differently, the same in meaning",)


RISKS = {
    "/ip service\nset www port=8080\n": {"management-access", "services"},
    "/ip firewall filter\nadd action=accept chain=input protocol=icmp\n": {"input-chain"},
    "/ip firewall filter\nadd action=accept chain=forward protocol=icmp\n": set(),
    "/ip firewall filter\nadd action=accept chain=input dst-port=8291\n": {
        "input-chain",
        "management-access",
    },
    "/ip firewall nat\nadd action=dst-nat chain=dstnat to-addresses=1\n": {"wan-nat"},
    "/ip firewall nat\nadd action=masquerade chain=srcnat out-interface=ether1-wan\n": {"wan-nat"},
    "/user\nadd group=full name=x\n": {"users"},
    "/snmp\nset enabled=yes\n": {"services"},
    "/ip dns\nset allow-remote-requests=yes\n": {"services"},
    "/ip address\nadd address=1 interface=ether1-wan\n": {"wan-address"},
    "/ip address\nadd address=1 interface=bridge-lan\n": set(),
    "/ip route\nadd gateway=1\n": {"wan-address"},
    "/ip pool\nadd name=x\n": set(),
    "/ip firewall filter\nadd action=accept chain=forward dst-port=22\n": set(),
    "/ip firewall filter\nadd action=accept chain=admins dst-port=20-25\n": {"management-access"},
    "/ip firewall filter\nadd chain=input dst-port=!22 action=passthrough\n": {
        "input-chain",
        "management-access",
    },
    "/ip firewall nat\nadd action=dst-nat chain=dstnat dst-port=9000 to-ports=22\n": {
        "management-access",
        "wan-nat",
    },
    "/ip firewall address-list\nadd address=1 list=mgmt\n": {"management-access"},
    "/ip firewall address-list\nadd address=1 list=bad\n": set(),
    "/interface list member\nadd interface=ether5 list=WAN\n": {"zones"},
    "/interface wireguard peers\nadd interface=w public-key=x\n": {"tunnels"},
    "/system logging\nadd action=remote topics=info\n": {"logging"},
    "/system logging action\nadd name=x remote=10.0.0.1 target=remote\n": {"logging"},
    "/system scheduler\nadd name=x on-event=y\n": {"scripts"},
    "/tool netwatch\nadd host=1 up-script=y\n": {"scripts"},
    "/ip upnp\nset enabled=yes\n": {"services"},
    "/ip socks\nset enabled=yes\n": {"services"},
    "/ip service\nset telnet disabled=yes\n": {"management-access", "services"},
    "/user ssh-keys\nadd user=x\n": {"users"},
    "/ip dns\nset servers=1.1.1.1\n": {"resolver"},
    '/interface wireguard\nadd name=w private-key="a"\n': {"tunnels"},
    "/ip route\nadd distance=2 dst-address=10.9.0.0/16 gateway=10.0.0.2\n": {"routes"},
    "/routing ospf interface-template\nadd area=a cost=10\n": {"routes"},
}


@pytest.mark.parametrize(("text", "tags"), RISKS.items())
def test_what_deserves_a_look_has_a_tag_and_a_reason(text: str, tags: set[str]) -> None:
    for found in (told("", text), told(text, "")):
        [change] = found.changes
        assert {risk.tag for risk in change.risks} == tags
        assert all(risk.reason for risk in change.risks)


INPUT = (
    "/ip firewall filter\nadd action={} chain=input comment=a{}\nadd chain=input protocol=icmp\n"
)
DROPS = INPUT.format("drop", "")
ONE_MORE = {
    # Before, after, and the tags beside `input-chain`.
    "a rule that drops is gone": (DROPS, INPUT.format("log", ""), {"protection"}),
    "it is disabled": (DROPS, INPUT.format("drop", " disabled=yes"), {"protection"}),
    "it is about less": (DROPS, INPUT.format("drop", " src-address=10.0.0.1"), {"protection"}),
    "it is logged": (DROPS, INPUT.format("drop", " log=yes"), set()),
    "it is enabled": (INPUT.format("drop", " disabled=yes"), DROPS, set()),
    "a rule accepts everything": (
        INPUT.format("accept", " protocol=udp"),
        INPUT.format("accept", ""),
        {"protection"},
    ),
    "a rule that is off accepts everything": (
        INPUT.format("accept", " protocol=udp"),
        INPUT.format("accept", " disabled=yes"),
        set(),
    ),
    "a range of ports": (
        INPUT.format("accept", " dst-port=53"),
        INPUT.format("accept", " dst-port=53,8000-9000"),
        {"management-access"},
    ),
    "a range of other ports": (
        INPUT.format("accept", " dst-port=53"),
        INPUT.format("accept", " dst-port=53,8000-8100"),
        set(),
    ),
}


@pytest.mark.parametrize(("before", "after", "tags"), ONE_MORE.values(), ids=ONE_MORE)
def test_a_rule_is_as_risky_as_what_it_did_and_does(
    before: str, after: str, tags: set[str]
) -> None:
    found = {risk.tag for one in told(before, after).changes for risk in one.risks}
    assert found - {"input-chain"} == tags


MASQUERADE = "/ip firewall nat\nadd action=masquerade chain=srcnat{}\n"
OUTSIDE = {
    "a name": ("", "ether1-wan"),
    "a comment": ("/interface ethernet\nset [ find default-name=ether1 ] comment=WAN\n", "ether1"),
    "a comment of one with a name": (
        '/interface ethernet\nset [ find default-name=ether1 ] comment="to the ISP" name=port1\n',
        "port1",
    ),
    "a DHCP client": ("/ip dhcp-client\nadd interface=ether5\n", "ether5"),
    "a PPPoE client": ("/interface pppoe-client\nadd interface=ether1 name=dsl\n", "dsl"),
    "a default route over it": ("/ip route\nadd gateway=vlan7\n", "vlan7"),
    "the gateway of a default route": (
        "/ip address\nadd address=192.0.2.2/30 interface=sfp1\n"
        "add address=10.0.0.1/24 interface=e\n"
        "/ip route\nadd distance=1 dst-address=0.0.0.0/0 gateway=192.0.2.1\n",
        "sfp1",
    ),
    "a list": ("/interface list member\nadd interface=ether9 list=WAN\n", "ether9"),
}


@pytest.mark.parametrize(("says", "interface"), OUTSIDE.values(), ids=OUTSIDE)
def test_what_leads_outside_is_known_by_more_than_its_name(says: str, interface: str) -> None:
    before = says + MASQUERADE.format(f" out-interface={interface}")
    for after, tags in (
        (says + MASQUERADE.format(f" out-interface={interface} src-address=10.0.0.0/8"), "wan-nat"),
        (before + f"/ip address\nadd address=1.1.1.1/24 interface={interface}\n", "wan-address"),
        (before + f"/interface bridge port\nadd bridge=b interface={interface}\n", "zones"),
    ):
        [change] = told(before, after).changes
        assert [risk.tag for risk in change.risks] == [tags]
    inside = says + MASQUERADE.format(" out-interface=other")
    assert not told(inside, inside.replace("=other", "=another")).changes[0].risks


@pytest.mark.parametrize("lost", [" out-interface=ether1", " out-interface-list=LAN"])
def test_masquerading_that_is_no_longer_about_one_interface_is_a_risk(lost: str) -> None:
    [change] = told(MASQUERADE.format(lost), MASQUERADE.format("")).changes
    assert [risk.reason for risk in change.risks] == [
        "the rule goes for traffic over any interface"
    ]


def test_default_routes_that_swap_their_distances_are_both_told() -> None:
    routes = "/ip route\nadd distance={} gateway=192.0.2.1\nadd distance={} gateway=192.0.2.5\n"
    changes = told(routes.format(1, 2), routes.format(2, 1)).changes
    assert [(one.kind, [risk.tag for risk in one.risks]) for one in changes] == [
        ("modified", ["wan-address"])
    ] * 2
    assert "gateway" not in str(changes)


def test_a_rule_that_keeps_traffic_out_is_watched_when_it_moves() -> None:
    rules = "".join(f"add chain=input comment=c{n} dst-port={n}\n" for n in (53, 54))
    last, first = (
        f"/ip firewall filter\n{before}add action=drop chain=input comment=d\n{after}"
        for before, after in ((rules, ""), ("", rules))
    )
    [change] = told(last, first).changes
    assert (change.kind, [risk.tag for risk in change.risks]) == (
        "moved",
        ["input-chain", "protection"],
    )


def test_a_policy_says_how_values_that_machines_write_are_told() -> None:
    before = "/system note\nset note=a\n/ip pool\nadd name=p comment=a ranges=1\n"
    after = "/system note\nset note=b\n/ip pool\nadd name=p comment=b ranges=2\n"
    assert [one.level for one in told(before, after).changes] == ["low", "report"]
    ignored = PolicyRule(section="/ip pool", property="comment", level="ignore")
    report = PolicyRule(section="/system note", level="report")
    # The loudest property counts: the ranges changed too.
    levels = [one.level for one in told(before, after, ignored, report).changes]
    assert levels == ["report", "report"]
    only_comment = after.replace("ranges=2", "ranges=1")
    assert told(before, only_comment, ignored).changes[1].level == "ignore"
    all_of_ip = PolicyRule(section="/ip", level="low")
    assert [one.level for one in told(before, after, all_of_ip).changes] == ["low", "low"]


def test_dynamic_entries_are_low() -> None:
    before, after = "", "/interface pppoe-server\nadd name=<pppoe-u> user=u\n"
    assert [one.level for one in told(before, after).changes] == ["low"]


def test_a_told_difference_is_kept_as_json() -> None:
    found = told(ADDRESS, POOL)
    assert decode(encode(found)) == found


def test_beyond_the_bound_changes_are_counted() -> None:
    many = "/ip pool\n" + "".join(f"add name=p{n}\n" for n in range(MOST_CHANGES + 7))
    found = told("", many)
    assert (len(found.changes), found.more) == (MOST_CHANGES, 7)
    assert summaries(found) == (
        (ChangeSummary(section="/ip pool", kind="added", count=MOST_CHANGES),),
        7,
    )


def test_beyond_so_many_characters_changes_are_counted() -> None:
    # Values are cut before they are told, but counted as long as they are shown.
    script = "x " * 9_900
    many = "/system note\n" + "".join(f'add name=s{n} note="{script}"\n' for n in range(450))
    found = told("", many)
    assert len(found.changes) + found.more == 450
    assert 0 < found.more < 450
    assert len(encode(found)) < 10_000_000


SCRIPT = "/system script\nadd name=s source={}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("x" * 30_000, "x" * 34_000, id="longer"),
        pytest.param("x" * 30_000, "x" * 29_999 + "y", id="as long"),
        pytest.param("x" * 20_000, "x" * 20_001, id="one of them is cut"),
        pytest.param("x" * 29_000 + "a", "x" * 29_000 + "\\C3", id="a broken character"),
    ],
)
def test_long_values_have_their_length_and_differ_when_they_are_cut(
    before: str, after: str
) -> None:
    [change] = told(SCRIPT.format(before), SCRIPT.format(after)).changes
    [source] = change.properties
    sizes = [len(value.replace("\\C3", "?")) for value in (before, after)]
    assert change.sentence == (
        f"system script: 's': source changed ({sizes[0]} characters before, {sizes[1]} now)"
    )
    assert source.before != source.after
    for value, size in zip((source.before, source.after), sizes, strict=True):
        assert value is not None
        assert len(value) <= 20_000
        assert (f"… (cut: {size} characters in all, " in value) == (size > 20_000)


def test_where_something_moved_is_told_in_unicode_and_cut() -> None:
    text = '/ip address\nadd address=10.0.0.1/24 interface="{}"\n'
    found = told(text.format("a\\C3"), text.format("x" * 30_000))
    decode(encode(found))
    [change] = found.changes
    assert change.sentence == (
        f"ip address 10.0.0.1/24 moved from a\N{REPLACEMENT CHARACTER} to {'x' * 99}…"
    )


def test_the_members_of_a_long_set_are_told_whole() -> None:
    before, after = (",".join(f"10.0.{n}.0" for n in range(last)) for last in (4_000, 4_001))
    text = "/ip dns\nset servers={}\n"
    [change] = told(text.format(before), text.format(after)).changes
    assert change.sentence == "ip dns: servers: 10.0.4000.0 added"
    [servers] = change.properties
    assert (servers.gone, servers.new) == ((), ("10.0.4000.0",))
    # So many of them are told by the size of the whole.
    [change] = told("/ip dns\nset servers=a,b\n", text.format(after)).changes
    assert "characters before" in change.sentence
    assert (change.properties[0].gone, change.properties[0].new) == ((), ())


def test_an_event_names_no_more_sections_than_the_bound() -> None:
    menus = sorted(MENUS)[: MOST_SUMMARIES + 5]
    text = "".join(f"/ip {menu}\nadd name=p\n" for menu in menus)
    found, more = summaries(told("", text))
    assert (len(found), more) == (MOST_SUMMARIES, 5)


def test_an_event_has_names_and_counts_and_nothing_of_the_text() -> None:
    before = "/ppp secret\nadd name=canary-a password=canary-b Canary=1 canary-c=2\n"
    after = (
        "/ppp secret\nadd name=canary-a password=canary-d Canary=2 canary-c=3\n"
        "/ip firewall filter\nadd action=drop chain=input comment=canary-f dst-port=22\n"
    )
    found, more = summaries(told(before, after))
    assert found == (
        ChangeSummary(
            section="/ppp secret",
            kind="modified",
            count=1,
            properties=("other", "password"),
            risks=("users",),
        ),
        ChangeSummary(
            section="/ip firewall filter",
            kind="added",
            count=1,
            risks=("input-chain", "management-access"),
        ),
    )
    assert more == 0
    for text in ("/canary secret\n", "canary\n", "/ip canary_x add a=1\n", "/ip pool canary_x\n"):
        assert "canary" not in str(summaries(told(after, after + text)))


@given(st.text(alphabet='/ip adset="\\\n .[]x,', max_size=120), st.text(max_size=60))
def test_any_texts_are_compared_and_told(before: str, after: str) -> None:
    found = told(before, after)
    decode(encode(found))
    summaries(found)
    assert told(before, before).changes == ()
