"""Connections to Postgres: a pool that waits for the server and says so."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import msgspec

from adapters.postgres.attended import Attendant, AttendedSession
from domain.errors import InvalidInput, Unavailable
from projections.outages import is_outage, reason_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Session: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
SAY_EVERY_SECONDS = 5.0
_JSONB_VERSION = b"\x01"

# In seconds, the last one in milliseconds: for what was sent and never got there.
_KEPT_ALIVE = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": 60_000,
}

_SERVER_SETTINGS = {
    # A value that is rare gets another plan than one that is common.
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    # Every page has an index in its own order. A bitmap would collect all matches and sort them,
    # which costs more the longer the history is, and the planner underrates how many there are.
    "enable_bitmapscan": "off",
    "statement_timeout": "30s",
    # Somebody else's transaction may hold a table or a row for long: whoever waits says so then.
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}


@asynccontextmanager
async def open_pool(
    dsn: str,
    *,
    application_name: str = "configtrail",
    min_size: int = 1,
    max_size: int = 16,
    wait_seconds: float | None = None,
    role: str | None = None,
    reset: bool = True,
) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """A pool of connections. `jsonb` values come and go as plain Python values.

    Waits until the server answers, for ever or for `wait_seconds`, and says so every few seconds,
    without the password. Raises the last error when that time is over, and at once what waiting
    does not heal: a wrong password, or `InvalidInput` for a `dsn` that is none. Where the server
    stands still, whoever asks is told (`Unavailable`) after some seconds. `role`: sessions
    act as this role and no other. `reset` False: what uses a session leaves nothing in it, so that
    it is not cleaned, which costs a way to the server and back, when it is given back.
    """
    attendant = Attendant(dsn)
    pool = await _connected(
        dsn,
        attendant,
        application_name=application_name,
        min_size=min_size,
        max_size=max_size,
        wait_seconds=wait_seconds,
        role=role,
        reset=reset,
    )
    try:
        yield pool
    except BaseException:
        pool.terminate()
        raise
    else:
        await pool.close()
    finally:
        attendant.stop()


async def _connected(
    dsn: str,
    attendant: Attendant,
    *,
    application_name: str,
    min_size: int,
    max_size: int,
    wait_seconds: float | None,
    role: str | None,
    reset: bool,
) -> asyncpg.Pool[asyncpg.Record]:
    loop = asyncio.get_running_loop()
    started = said = loop.time()
    while True:
        pool = asyncpg.create_pool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            timeout=10.0,
            command_timeout=None,
            connect=attendant.connect,
            connection_class=AttendedSession,
            init=_prepare,
            reset=None if reset else _as_it_is,
            server_settings={
                "application_name": application_name,
                **_SERVER_SETTINGS,
                **({} if role is None else {"role": role}),
            },
        )
        try:
            await pool
        except ValueError:
            # Its message may quote a part of the password.
            raise InvalidInput(
                "postgres_dsn", "must be postgresql://user:password@host:port/database"
            ) from None
        except (
            OSError,
            RuntimeError,
            Unavailable,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
        ) as error:
            pool.terminate()
            now = loop.time()
            over = wait_seconds is not None and now - started >= wait_seconds
            if over or not is_outage(error):
                raise
            if said == started or now - said >= SAY_EVERY_SECONDS:
                log.warning("waiting for Postgres: %s", reason_of(error))
                said = now
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return pool


async def _prepare(session: Session) -> None:
    _notice_a_lost_machine(session)
    await session.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=_encode_jsonb,
        decoder=_decode_jsonb,
    )


def _notice_a_lost_machine(session: Session) -> None:
    """Have the kernel ask whether the server's machine is still there: who waits for an answer
    sends nothing, and would wait for ever for one that lost its power or its network."""
    raw = session._transport.get_extra_info("socket")  # type: ignore[union-attr]  # of both
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEPT_ALIVE.items():
        # Not every system has all of them.
        option = getattr(socket, name, None)
        if option is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)


async def _as_it_is(session: Session) -> None:
    """A transaction that was left open has been rolled back by now."""


def _encode_jsonb(value: object) -> bytes:
    return _JSONB_VERSION + msgspec.json.encode(value)


def _decode_jsonb(raw: bytes) -> object:
    # The wire form of jsonb: a version byte, then the text of it.
    if raw[:1] != _JSONB_VERSION:
        raise ValueError(f"jsonb of an unknown version {raw[:1]!r}")
    return msgspec.json.decode(raw[1:])
