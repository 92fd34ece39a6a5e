"""Which errors are outages: they end by themselves, and waiting and trying again is right."""

from __future__ import annotations

import asyncpg

from domain.errors import Unavailable

# Of SQLSTATE: connection exceptions, transaction rollback (lost a race), insufficient resources,
# operator intervention (restart, shutdown, cancelled); session ended as idle, lock not available.
_TRANSIENT_CLASSES = ("08", "40", "53", "57")
_TRANSIENT_STATES = ("25P03", "55P03")
_CLOSED_HANDLE = "; the handler is closed"


def is_outage(error: BaseException) -> bool:
    """Whether Postgres, NATS or the network did not answer, as against something being wrong."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES
    # asyncpg stumbles over a session that the server has just said farewell to: it has read that,
    # and not yet that nothing follows, when the next statement comes.
    if isinstance(error, asyncpg.InternalClientError):
        return True
    # So does uvloop over a connection whose other end is gone, in whatever is sent on it: be it the
    # end of a transaction or the connection's own, whose error would hide the real one.
    if type(error) is RuntimeError:
        return str(error).endswith(_CLOSED_HANDLE)
    # asyncpg says "connection is closed" with its plain InterfaceError; subclasses are misuse.
    return type(error) is asyncpg.InterfaceError or isinstance(
        error, OSError | TimeoutError | Unavailable
    )


def reason_of(error: BaseException) -> str:
    """The error in words for a log line. Postgres' details are left out: they may quote rows."""
    if isinstance(error, asyncpg.InternalClientError):
        # Most often a lease's, which the server grants seconds to whoever shows nothing of itself.
        return "it ended the session, as when it stops, or when this program stood still for long"
    if isinstance(error, Unavailable):
        # What is waited for is named beside it; what else lacks, a stream of it, is not.
        return error.reason if error.service in ("NATS", "Postgres") else str(error)
    words = str(error).partition("\nDETAIL:")[0]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
