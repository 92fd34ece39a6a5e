"""Which roles a program runs, and that only the sealer's has the log key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adapters.composition.chosen import NAMES, check_chosen, chosen, of_chosen
from adapters.settings import Settings
from domain.errors import InvalidInput

ALWAYS = {"stream watch", "key watch", "access journal"}
ROLES = (
    *(one for one in NAMES if one not in ("api", "projections")),
    *ALWAYS,
    "projection audit",
    "projection rebuild audit",
)


async def nothing() -> None:
    """A role."""


def run_by(text: str) -> set[str]:
    return set(of_chosen(dict.fromkeys(ROLES, nothing), chosen(text)))


def test_without_a_choice_all_roles_run() -> None:
    assert chosen("") == chosen(" , ") == frozenset(NAMES)
    assert run_by("") == set(ROLES)


def test_a_choice_names_roles_or_leaves_some_out() -> None:
    assert run_by("sealer") == {"sealer", *ALWAYS}
    assert run_by("api, projections") == {
        "projection audit",
        "projection rebuild audit",
        *ALWAYS,
    }
    assert run_by("-sealer") == set(ROLES) - {"sealer"}
    assert chosen("sealer, api, -api") == {"sealer"}


@given(st.sets(st.sampled_from(NAMES), min_size=1, max_size=len(NAMES) - 1))
def test_two_programs_with_a_choice_and_its_opposite_run_every_role_once(named: set[str]) -> None:
    here = run_by(",".join(named)) - ALWAYS
    there = run_by(",".join(f"-{one}" for one in named)) - ALWAYS
    assert not here & there
    assert here | there == set(ROLES) - ALWAYS


@pytest.mark.parametrize("text", ["sealr", "-sealr", "projection audit", "sealer,-sealer", "--api"])
def test_a_choice_of_nothing_and_of_what_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="CONFIGTRAIL_ROLES"):
        chosen(text)


def test_a_program_without_the_sealer_is_not_started_where_the_log_key_is(tmp_path: Path) -> None:
    apart = Settings(data_dir=tmp_path, roles="-sealer")
    assert "sealer" not in check_chosen(apart, own_servers=False)
    given_one = apart.model_copy(update={"log_key": SecretStr("a key")})
    with pytest.raises(InvalidInput, match="CONFIGTRAIL_LOG_KEY") as refused:
        check_chosen(given_one, own_servers=False)
    assert "a key" not in str(refused.value)
    (tmp_path / "log.key").touch(mode=0o000)
    with pytest.raises(InvalidInput, match=r"log\.key is there"):
        check_chosen(apart, own_servers=False)
    sealer = apart.model_copy(update={"roles": "sealer"})
    assert check_chosen(sealer, own_servers=False) == {"sealer"}


HEARING = "0.0.0.0:5514"


@pytest.mark.parametrize(
    ("roles", "switches", "named"),
    [
        ("collector", {"collector": False}, "CONFIGTRAIL_COLLECTOR"),
        ("differ, collector", {"collector": False}, "CONFIGTRAIL_COLLECTOR"),
        (
            "collector,syslog",
            {"collector": False, "syslog_listen": HEARING},
            "CONFIGTRAIL_COLLECTOR",
        ),
        ("collector,syslog", {}, "CONFIGTRAIL_SYSLOG_LISTEN"),
        (",".join(f"-{one}" for one in NAMES if one != "syslog"), {}, "CONFIGTRAIL_SYSLOG_LISTEN"),
        (
            ",".join(f"-{one}" for one in NAMES if one != "collector"),
            {"collector": False},
            "CONFIGTRAIL_COLLECTOR",
        ),
        ("syslog", {"syslog_listen": HEARING}, "CONFIGTRAIL_ROLES"),
        ("-collector,-sealer", {"syslog_listen": HEARING}, "CONFIGTRAIL_ROLES"),
    ],
)
def test_a_program_that_would_run_nothing_of_what_it_is_to_run_is_not_started(
    tmp_path: Path, roles: str, switches: dict[str, Any], named: str
) -> None:
    settings = Settings(data_dir=tmp_path, roles=roles, **switches)
    with pytest.raises(InvalidInput) as refused:
        check_chosen(settings, own_servers=False)
    assert refused.value.field == named


def test_what_is_switched_off_may_be_among_all_the_others(tmp_path: Path) -> None:
    for roles, switches in (
        ("", {"collector": False}),
        ("-sealer", {"collector": False, "syslog_listen": HEARING}),
        ("-sealer", {}),
        ("-collector,-syslog", {"syslog_listen": HEARING}),
        ("collector,syslog", {"syslog_listen": HEARING}),
        ("collector", {"syslog_listen": HEARING}),
        ("-collector", {}),
    ):
        settings = Settings(data_dir=tmp_path, roles=roles, **switches)
        assert check_chosen(settings, own_servers=False) == chosen(roles)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Who is no administrator stays who they are: such a folder is closed to them as well."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_log_key_in_a_folder_that_is_closed_to_a_program_is_apart_from_it(tmp_path: Path) -> None:
    """As where one file of settings is for both programs, which are two users."""
    closed = tmp_path / "sealer"
    closed.mkdir()
    (closed / "log.key").touch(mode=0o600)
    apart = Settings(data_dir=tmp_path, roles="-sealer", log_key_file=closed / "log.key")
    closed.chmod(0o000)
    try:
        with as_somebody_else():
            assert "sealer" not in check_chosen(apart, own_servers=False)
    finally:
        closed.chmod(0o700)
    with pytest.raises(InvalidInput, match=r"log\.key is there"):
        check_chosen(apart, own_servers=False)


def test_on_embedded_servers_all_roles_are_one_program(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="CONFIGTRAIL_NATS_URL"):
        check_chosen(Settings(data_dir=tmp_path, roles="-sealer"), own_servers=True)
    assert check_chosen(Settings(data_dir=tmp_path), own_servers=True) == frozenset(NAMES)
