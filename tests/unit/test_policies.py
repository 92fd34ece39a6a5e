"""Policies of tenants, from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.policies import read_policies
from domain.errors import InvalidInput
from domain.semantic.policy import PolicyRule, line_level


def written(folder: Path, section: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(f'[[acme]]\nsection = "{section}"\nlevel = "ignore"\n')
    return path


@pytest.mark.parametrize(
    ("section", "meant"),
    [
        ("/ip dns static", "/ip dns static"),
        ("/ip/dns/static", "/ip dns static"),
        ("/ip", "/ip"),
        ("/user-manager/user", "/user-manager user"),
        ("/interface wireguard peers", "/interface wireguard peers"),
        ("", ""),
    ],
)
def test_a_menu_may_be_written_with_blanks_or_slashes(
    tmp_path: Path, section: str, meant: str
) -> None:
    rule = read_policies(written(tmp_path, section)).of("acme")[0]
    assert (rule.section, rule.level) == (meant, "ignore")


@pytest.mark.parametrize("section", ["ip dns static", "/ip dns add", "/", "/ip  dns!", "dns"])
def test_what_is_no_menu_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(InvalidInput, match="acme") as raised:
        read_policies(written(tmp_path, section))
    assert repr(section) in str(raised.value)


def rule_of(folder: Path, **fields: str) -> PolicyRule:
    path = folder / "policy.toml"
    lines = [f'{name} = "{value}"' for name, value in (fields | {"level": "ignore"}).items()]
    path.write_text("\n".join(("[[acme]]", *lines, "")))
    return read_policies(path).of("acme")[0]


def test_a_rule_may_be_for_another_platform(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, platform="ios", section="interface  Vlan10 > description")
    assert (rule.platform, rule.section) == ("ios", "interface Vlan10 > description")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"platform": "text", "section": "x"}, "nothing is told; write one of routeros, ios"),
        ({"platform": "cisco", "section": "x"}, "write one of routeros, ios"),
        ({"platform": "ios", "section": ""}, "no place in a text of ios"),
        ({"platform": "ios", "section": "interface Vlan10 > "}, "no place in a text of ios"),
        ({"platform": "ios", "section": "ntp", "property": "server"}, "whose lines have none"),
    ],
)
def test_a_rule_that_can_not_hold_is_refused(
    tmp_path: Path, fields: dict[str, str], why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        rule_of(tmp_path, **fields)


def test_a_line_is_told_by_the_first_rule_that_its_place_begins_with() -> None:
    rules = (
        PolicyRule(section="interface Vlan10 > description", level="low", platform="ios"),
        PolicyRule(section="interface Vlan10", level="ignore", platform="ios"),
        PolicyRule(section="snmp-server", level="ignore", platform="eos"),
        PolicyRule(section="hostname", level="ignore"),
    )
    for path, wanted in (
        ("interface Vlan10 > description of the office", "low"),
        ("interface Vlan10 > ip address 192.0.2.1 255.255.255.0", "ignore"),
        ("interface Vlan10", "ignore"),
        ("interface Vlan100 > description x", "report"),
        ("snmp-server location x", "report"),
        ("hostname r1", "report"),
    ):
        assert line_level(rules, "ios", path) == wanted, path
