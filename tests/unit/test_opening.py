"""The options of a connection are those that asyncssh would make for it."""

from __future__ import annotations

import asyncssh
import pytest
from asyncssh import SSHClientConnectionOptions

from adapters.ssh.algorithms import host_key_algorithms
from adapters.ssh.opening import Login, common_settings, options_of
from adapters.ssh.target import Credential, Trust


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", [None, asyncssh.generate_private_key("ssh-ed25519")])
@pytest.mark.parametrize("password", [None, "correct horse"])
def test_the_options_of_a_connection_are_those_made_for_it_alone(
    legacy: bool, key: asyncssh.SSHKey | None, password: str | None
) -> None:
    keys = None if key is None else [key]
    algorithms = host_key_algorithms(Trust(), legacy=legacy)
    login = Login(
        client=asyncssh.SSHClient,
        host="r1.example.net",
        port=2222,
        username="b\u00aackup",
        credential=Credential(username="b\u00aackup", password=password),
        keys=keys,
        host_key_algorithms=algorithms,
        legacy=legacy,
    )
    alone = SSHClientConnectionOptions(
        **common_settings(legacy=legacy)
        | {
            "client_factory": asyncssh.SSHClient,
            "host": "r1.example.net",
            "port": 2222,
            "username": "b\u00aackup",
            "password": password,
            "client_keys": keys,
            "server_host_key_algs": algorithms,
        }
    )
    assert _told(options_of(login)) == _told(alone)
    assert options_of(login).agent_path is None
    other = options_of(login)
    other.host = "r2.example.net"
    assert options_of(login).host == "r1.example.net"


def test_a_login_shows_no_secret() -> None:
    login = Login(
        client=asyncssh.SSHClient,
        host="r1",
        port=22,
        username="backup",
        credential=Credential(username="backup", password="correct horse"),
        keys=None,
        host_key_algorithms=(),
        legacy=False,
    )
    assert "correct horse" not in repr(login)


def _told(options: SSHClientConnectionOptions) -> dict[str, object]:
    """All that a connection reads of its options, but for the agent, which it never asks, and the
    configuration, of which none is read."""
    found = dict(vars(options))
    del found["kwargs"], found["agent_path"], found["config"]
    keys = found["client_keys"]
    found["client_keys"] = keys and [one.public_data for one in keys]
    return found
