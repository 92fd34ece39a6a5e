"""Connecting to NATS, waiting for it, and telling a passing outage from a lasting error."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from adapters.jetstream.address import read_address
from adapters.jetstream.tap import Tap
from adapters.jetstream.transport import Transport
from domain.errors import AccessRefused, StreamMissing, Unavailable

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
SAY_EVERY_SECONDS = 5.0
REQUEST_TIMEOUT_SECONDS = 10.0
CLOSE_SECONDS = 5.0
# How the server and nats-py begin to say that a user may not come in.
_REFUSED = "authorization"
_TOO_MANY_CONSUMERS = 10026
# Publishes wait here while the client reconnects; more than this is refused, not kept in memory.
PENDING_BYTES = 64 * 1024 * 1024


async def connect(url: str, *, name: str, within: float | None = None) -> Client:
    """A connection that outlives outages. Waits for the server, saying so each few seconds.

    `url` may name several servers of a cluster, with commas between them. With `within` it does not
    wait longer than so many seconds: then it raises `Unavailable`. `AccessRefused` as soon as a
    server refuses the user, `InvalidInput` when it is no address.
    """
    read_address(url)
    client = Client()
    try:
        async with asyncio.timeout(within) as bound:
            return await _connected(client, url, name=name)
    except TimeoutError as error:
        if not bound.expired():
            raise
        met = client.last_error
        why = f" ({_why(met)})" if met is not None else ""
        raise Unavailable("NATS", f"no connection within {within:g} s{why}") from error
    finally:
        if not client.is_connected:
            await close(client)


async def close(client: Client) -> None:
    """Close a connection, also one whose server is gone: there the client stumbles over what it
    could not send, and waits for one that stands still."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
    except (OSError, nats.errors.Error) as error:
        log.info("nats: closed without a good-bye: %s", type(error).__name__)


async def _connected(client: Client, url: str, *, name: str) -> Client:
    addresses, options = read_address(url)
    Tap.install(client)
    Transport.install(client)
    silent_until = 0.0
    was_there = False

    async def on_error(error: Exception) -> None:
        nonlocal silent_until
        refused = _REFUSED in str(error).lower()
        if refused and not was_there:
            # Raised here it ends the client's own attempts.
            raise AccessRefused("NATS", "look at both in its address") from error
        told = "it refuses the user or the password" if refused else _why(error)
        if client.is_connected:
            log.warning("nats: %s", told)
        elif time.monotonic() >= silent_until:
            # The client tries several times a second, and for ever.
            log.warning("waiting for NATS: %s", told)
            silent_until = time.monotonic() + SAY_EVERY_SECONDS

    async def on_disconnect() -> None:
        _give_requests_up(client)
        if not (client.is_closed or client.is_draining):
            log.warning("nats: connection lost; reconnecting")

    async def on_reconnect() -> None:
        log.info("nats: connected again")

    while True:
        try:
            with cancellable():
                await client.connect(
                    addresses,
                    name=name,
                    error_cb=on_error,
                    disconnected_cb=on_disconnect,
                    reconnected_cb=on_reconnect,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds; fractions work
                    connect_timeout=5,
                    ping_interval=5,
                    pending_size=PENDING_BYTES,
                    **options,
                )
            was_there = True
            return client
        except (nats.errors.NoServersError, nats.errors.TimeoutError, OSError) as error:
            log.warning("waiting for NATS: %s", _why(error))
            await asyncio.sleep(RETRY_SECONDS)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return type(error).__name__


class GivesUp(Protocol):
    """Somebody who waits for answers over a connection."""

    def give_up(self) -> None:
        """The connection is lost, and with it the answers."""
        ...


_waiters: WeakKeyDictionary[Client, WeakSet[GivesUp]] = WeakKeyDictionary()


def tell_of_losses(client: Client, waiter: GivesUp) -> None:
    """Let the waiter know whenever the connection (made by `connect`) is lost."""
    _waiters.setdefault(client, WeakSet()).add(waiter)


def _give_requests_up(client: Client) -> None:
    """End the requests whose answers are lost with the connection: as outages, which are tried
    again. The client would let each of them wait out its time (seconds, after a short restart)."""
    for waiter in list(_waiters.get(client, ())):
        waiter.give_up()
    for waiting in list(client._resp_map.values()):
        if not waiting.done():
            give_answer_up(waiting)


def give_answer_up(answer: asyncio.Future[Msg]) -> None:
    """End the wait for an answer as an outage. Nobody may wait for it any more: a request that
    could not be sent leaves its answer behind. So it counts as looked at."""
    answer.set_exception(nats.errors.ConnectionReconnectingError())
    answer.exception()


@contextmanager
def cancellable() -> Iterator[None]:
    """Raise a cancellation that came during the block, whatever became of it there.

    The client waits by `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that
    comes together with the answer (python/cpython#86296): who was cancelled would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


@contextmanager
def outage_as_unavailable(doing: str) -> Iterator[None]:
    """Turn errors that pass by waiting into `Unavailable`; others pass through as they are."""
    try:
        with cancellable():
            yield
    except nats.js.errors.APIError as error:
        # 503 is also what a stream answers that is full: that one is for the caller to judge.
        if isinstance(error, nats.js.errors.ServiceUnavailableError) and error.err_code != 10077:
            # Without a code nobody listened where JetStream would.
            why = error.description or "it is not enabled, or starts just now"
            raise Unavailable("NATS JetStream", f"{doing}: {why}") from error
        if error.err_code == _TOO_MANY_CONSUMERS:
            # Those that nobody reads go by themselves after a while.
            why = error.description or "there are too many consumers"
            raise Unavailable("NATS JetStream", f"{doing}: {why}") from error
        raise
    except (
        nats.errors.TimeoutError,
        nats.errors.NoRespondersError,
        nats.errors.ConnectionClosedError,
        nats.errors.ConnectionReconnectingError,
        nats.errors.OutboundBufferLimitError,
        nats.errors.StaleConnectionError,
        nats.js.errors.NoStreamResponseError,
        ConnectionError,
    ) as error:
        raise Unavailable("NATS", f"{doing}: {type(error).__name__}") from error


@contextmanager
def missing_as_unavailable(stream: str) -> Iterator[None]:
    """Turn what tells that the stream is not there into `StreamMissing`."""
    try:
        yield
    except nats.js.errors.NotFoundError as error:
        raise StreamMissing(stream) from error
