"""Policies of tenants, from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.policies import read_policies
from domain.errors import InvalidInput


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
