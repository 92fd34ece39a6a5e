"""Opening an SSH connection for less than `asyncssh.connect` takes.

That makes its options anew for each connection, in a thread, which costs a tenth of the whole
login. Here they are made once, and each connection has a copy with what is its own. Nor are words
made for a log that nobody keeps, or names looked up in the event loop's own threads.

Nothing of the user's own SSH configuration is read.
"""

from __future__ import annotations

import asyncio
import copy
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import asyncssh
from asyncssh import SSHClient, SSHClientConnection, SSHClientConnectionOptions, SSHKey, SSHKeyPair
from asyncssh.constants import MSG_IGNORE
from asyncssh.logging import SSHLogger
from asyncssh.packet import SSHPacket
from asyncssh.saslprep import saslprep
from msgspec import Struct

from adapters.resolving import addresses_of
from adapters.ssh.algorithms import encryption, exchanges
from adapters.ssh.target import Credential

ClientKey = SSHKey | SSHKeyPair


class Login(Struct, frozen=True, kw_only=True):
    """What is one connection's own."""

    client: Callable[[], SSHClient]
    host: str
    port: int
    username: str
    credential: Credential
    keys: Sequence[ClientKey] | None
    host_key_algorithms: Sequence[str]
    legacy: bool


class _Logger(SSHLogger):
    """Makes no words for a log that nobody keeps."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            super().log(level, msg, *args, **kwargs)


_LOGGER = _Logger()


class _Connection(SSHClientConnection):
    """Logs no packets, and nothing else that is not kept."""

    @property
    def logger(self) -> SSHLogger:
        """The same for all: what is kept is too rare to be told apart."""
        return _LOGGER

    def log_sent_packet(
        self, pkttype: int, pktid: int | None, packet: bytes | SSHPacket, note: str = ""
    ) -> None:
        """Nobody wants it."""

    def log_received_packet(
        self, pkttype: int, pktid: int | None, packet: bytes | SSHPacket, note: str = ""
    ) -> None:
        """Nobody wants it."""


class _ModernConnection(_Connection):
    """One whose cipher is none of CBC."""

    def send_packet(self, pkttype: int, *args: bytes, handler: object = None) -> None:
        """Before each packet asyncssh sends an empty one that is to be ignored, which makes the
        next initial vector unpredictable. Only ciphers in CBC mode have need of it."""
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)  # type: ignore[arg-type]


async def opened(login: Login, tunnel: SSHClientConnection | None) -> SSHClientConnection:
    """A connection that is logged in; over a tunnel, if there is one. Who gives up has none.

    Raises `asyncssh.Error`, `OSError`, and `UnicodeError` for what can be no host name.
    """
    loop = asyncio.get_running_loop()
    options = options_of(login)
    options.waiter = loop.create_future()
    kind = _Connection if login.legacy else _ModernConnection

    def made() -> SSHClientConnection:
        return kind(loop, options, wait="auth")

    if tunnel is None:
        connection = await _reached(made, login.host, login.port)
    else:
        # To the tunnel the connection is the session of a channel.
        _, session = await tunnel.create_connection(cast(Any, made), login.host, login.port)
        connection = cast(SSHClientConnection, session)
    connection.set_extra_info(host=login.host, port=login.port)
    try:
        await options.waiter
    except BaseException:
        connection.abort()
        await connection.wait_closed()
        raise
    return connection


async def _reached(
    made: Callable[[], SSHClientConnection], host: str, port: int
) -> SSHClientConnection:
    """A connection over TCP to the first address of a host that takes one."""
    loop = asyncio.get_running_loop()
    refused: OSError | None = None
    for address in await addresses_of(host):
        try:
            _, connection = await loop.create_connection(made, address, port)
            return connection
        except OSError as error:
            refused = refused or error
    raise refused or socket.gaierror(socket.EAI_NONAME, "the name has no address")


def options_of(login: Login) -> SSHClientConnectionOptions:
    """The options of one connection."""
    options = copy.copy(_common(login.legacy))
    options.protocol_factory = login.client
    options.orig_host = options.host = login.host
    options.port = login.port
    options.username = saslprep(login.username)
    options.password = login.credential.password
    options.client_keys = asyncssh.load_keypairs(login.keys) if login.keys else None
    options.server_host_key_algs = login.host_key_algorithms
    return options


@lru_cache
def _common(legacy: bool) -> SSHClientConnectionOptions:
    return SSHClientConnectionOptions(**common_settings(legacy=legacy))


def common_settings(*, legacy: bool) -> dict[str, object]:
    """What is the same for all connections."""
    return {
        "config": None,
        "known_hosts": ([], [], []),
        "kex_algs": exchanges(legacy=legacy),
        "client_keys": None,
        "agent_path": None,
        "gss_host": None,
        "gss_auth": False,
        "gss_kex": False,
        "host_based_auth": False,
        "preferred_auth": "publickey,password,keyboard-interactive",
        "compression_algs": ["none"],
        "encryption_algs": encryption(legacy=legacy),
        "x509_trusted_certs": None,
        "keepalive_interval": 0,
        "login_timeout": 0,
        "connect_timeout": None,
    }
