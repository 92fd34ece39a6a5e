"""What is the same configuration of RouterOS in other words, and what is another one."""

from __future__ import annotations

import pytest

from domain.canonical import text_under
from tests.routeros_texts import routeros


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
