"""Logging in to a device, after its host key was found to be the right one.

The key is checked before anything secret is sent: a device that shows another one than expected
gets neither a password nor a signature.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext

import asyncssh
from asyncssh import SSHClientConnection, SSHKey
from msgspec.structs import replace

from adapters.ssh.agent import agent_keys
from adapters.ssh.algorithms import host_key_algorithms, without_kind
from adapters.ssh.failures import TRIES_NEXT_ADDRESS, DeviceUnread, JumpHostRefused, OutOfTime
from adapters.ssh.jumping import Jumping
from adapters.ssh.opening import ClientKey, Login, opened
from adapters.ssh.private_keys import private_key
from adapters.ssh.target import Credential, HostKey, Target, Trust
from domain.user_names import is_user_name


class Session:
    """A login at a device, the address that it was made at, and until when it may be used."""

    def __init__(self, connection: SSHClientConnection, address: str, until: float) -> None:
        self.connection = connection
        self.address = address
        self.until = until


class Seen:
    """The host keys that targets showed, by name: filled while connecting, also when it fails."""

    def __init__(self) -> None:
        self.keys: dict[str, HostKey] = {}
        self.addresses: dict[str, str] = {}


class _Client(asyncssh.SSHClient):
    """Judges the host's key. `shown` is what it showed, `refused` that it was the wrong one."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self.forget()

    def forget(self) -> None:
        """Nothing is shown yet."""
        self.shown: HostKey | None = None
        self.refused = False

    def judge(self, shown: HostKey) -> bool:
        """Whether this is the right one."""
        self.shown = shown
        self.refused = not self.trust.accepts(shown)
        return not self.refused

    def validate_host_public_key(self, host: str, addr: str, port: int, key: SSHKey) -> bool:
        return self.judge(
            HostKey(algorithm=key.get_algorithm(), blob=base64.b64encode(key.public_data).decode())
        )


@asynccontextmanager
async def logged_in(
    target: Target, seen: Seen, until: float, jumping: Jumping | None = None
) -> AsyncIterator[Session]:
    """A login at the first of the target's addresses that answers, before `until` on the loop's
    clock. `jumping` may keep it from a jump host that refuses us, or have it wait for its turn
    there: it has so much longer then, for that is not the target's fault.

    Raises `DeviceUnread`. `seen` tells the shown host keys whatever comes.
    """
    async with AsyncExitStack() as stack:
        tunnel: SSHClientConnection | None = None
        if target.via is not None:
            clock = asyncio.get_running_loop().time
            try:
                came = clock()
                async with nullcontext() if jumping is None else jumping(target.via):
                    until += clock() - came
                    login = logged_in(target.via, seen, until, jumping)
                    over = await stack.enter_async_context(login)
            except DeviceUnread as error:
                raise _on_the_way(error, target.via.name) from error
            tunnel, until = over.connection, over.until
        session = await _first_answering(target, tunnel, seen, until)
        try:
            yield session
        finally:
            # Not `close` and wait: a device that hangs must not hold us up.
            session.connection.abort()


def _on_the_way(error: DeviceUnread, name: str) -> DeviceUnread:
    """A jump host's failure as that of a device behind it. Neither another host's key nor its
    refusal is a reason for this device to wait for a person: nothing of it is to be mended."""
    reason = f"at the jump host {name}: {error.reason}"
    if error.kind == "auth_failed" or isinstance(error, JumpHostRefused):
        return JumpHostRefused(reason)
    return DeviceUnread("unreachable" if error.kind == "host_key_changed" else error.kind, reason)


async def _first_answering(
    target: Target, tunnel: SSHClientConnection | None, seen: Seen, until: float
) -> Session:
    failure: DeviceUnread | None = None
    for left, address in zip(range(len(target.addresses), 0, -1), target.addresses, strict=True):
        # One that says nothing leaves the others their share.
        share = max(0.0, until - asyncio.get_running_loop().time()) / left
        seconds = min(target.limits.connect, share)
        try:
            connection = await _connect(target, address, tunnel, seen, seconds)
            return Session(connection, address, until)
        except DeviceUnread as error:
            if error.kind not in TRIES_NEXT_ADDRESS:
                raise
            failure = failure or error
    if failure is None:
        raise DeviceUnread("unreachable", "it has no address")
    raise failure


async def _connect(
    target: Target,
    address: str,
    tunnel: SSHClientConnection | None,
    seen: Seen,
    seconds: float,
) -> SSHClientConnection:
    client = _Client(target.trust)
    where = f"{address} port {target.port}"
    credential = target.credential
    if credential.username is None:
        raise DeviceUnread("no_credential", "neither inventory nor credential names a user")
    _check_sendable(credential, credential.username)
    try:
        async with asyncio.timeout(seconds), _client_keys(credential) as keys:
            login = Login(
                client=lambda: client,
                host=address,
                port=target.port,
                username=credential.username,
                credential=credential,
                keys=keys,
                host_key_algorithms=host_key_algorithms(target.trust, legacy=target.legacy),
                legacy=target.legacy,
            )
            return await _with_the_right_key(client, login, tunnel)
    except TimeoutError as error:
        reason = f"no login at {where} within {seconds:.2g} s"
        if seconds < target.limits.connect:
            raise OutOfTime(reason) from error
        raise DeviceUnread("timeout", reason) from error
    except UnicodeError as error:
        # What is to be sent was looked at before: it is the address that can't be put as IDNA.
        raise DeviceUnread(
            "unresolvable", f"{where} can be no host name: see to its address in the inventory"
        ) from error
    except (OSError, asyncssh.Error) as error:
        raise _explained(error, client, where) from error
    finally:
        if client.shown is not None:
            seen.keys[target.name] = client.shown
            seen.addresses[target.name] = address


async def _with_the_right_key(
    client: _Client, login: Login, tunnel: SSHClientConnection | None
) -> SSHClientConnection:
    """A connection to who shows a key that is trusted. A fingerprint does not tell of what kind its
    key is, and a device shows that kind which is asked for first: where one is expected by its
    fingerprint, the other kinds are asked for as well."""
    try:
        return await opened(login, tunnel)
    except asyncssh.HostKeyNotVerifiable:
        first = client.shown
        others = without_kind(login.host_key_algorithms, first.algorithm) if first else []
        if first is None or not others or not client.trust.any_kind:
            raise
        client.forget()
    try:
        other = replace(login, host_key_algorithms=others)
        return await _with_the_right_key(client, other, tunnel)
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
        client.judge(first)  # none of its keys is the right one: told is the one that it prefers
        raise


def _check_sendable(credential: Credential, username: str) -> None:
    if not is_user_name(username):
        raise DeviceUnread(
            "no_credential",
            "its user name has characters that no SSH login can send (RFC 4013): correct it in the "
            "inventory or the credential",
        )
    # A variable of the environment may hold bytes that are no text.
    if not (_is_text(credential.password) and _is_text(credential.enable)):
        raise DeviceUnread("no_credential", "its password is not UTF-8: set its credential anew")


def _is_text(secret: str | None) -> bool:
    """Whether a secret can be sent. No error is passed on: it would carry the secret along."""
    return secret is None or not any("\ud800" <= one <= "\udfff" for one in secret)


def _explained(error: Exception, client: _Client, where: str) -> DeviceUnread:
    if client.refused:
        assert client.shown is not None
        shown = f"{client.shown.algorithm} {client.shown.fingerprint}"
        if client.trust.any_kind:
            return DeviceUnread(
                "host_key_changed",
                f"{where} shows another host key than the expected {client.trust.expected}: "
                f"{shown}; if that is right, expect it (configtrail hostkeys release --expect)",
            )
        return DeviceUnread(
            "host_key_changed",
            f"{where} shows another host key than the one that is pinned: {shown}; if that is "
            "right, release the pinned one (configtrail hostkeys release)",
        )
    match error:
        case asyncssh.PermissionDenied() | asyncssh.IllegalUserName():
            return DeviceUnread(
                "auth_failed", f"{where} refuses the login: see to its user name and its credential"
            )
        case asyncssh.ConnectionLost():
            return DeviceUnread("connection_lost", f"{where} ended the connection at login")
        case asyncssh.KeyExchangeFailed():
            return DeviceUnread(
                "protocol",
                f"{where} and we have no key exchange or cipher in common; if it knows only weak "
                "ones, its inventory may say legacy: yes",
            )
        case asyncssh.ChannelOpenError():
            return DeviceUnread("unreachable", f"the jump host can't reach {where}")
        case asyncssh.Error():
            return DeviceUnread("protocol", f"{where}: {type(error).__name__} at login")
        case socket.gaierror():
            return DeviceUnread("unresolvable", f"the name of {where} can't be resolved")
        case ConnectionResetError():
            return DeviceUnread("connection_lost", f"{where} reset the connection at login")
        case OSError():
            reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
            return DeviceUnread("unreachable", f"{where} can't be reached ({reason})")
        case _:
            raise error


@asynccontextmanager
async def _client_keys(credential: Credential) -> AsyncIterator[Sequence[ClientKey] | None]:
    if credential.agent:
        async with agent_keys() as keys:
            yield keys
    elif credential.private_key is not None:
        yield [await private_key(credential.private_key, credential.passphrase)]
    else:
        yield None
