"""Runs one command as a program: event loop, signals, errors in one line, exit status.

Exit status: 0 done, 1 something was refused or failed, 2 wrong usage, 3 a server that is needed
can't be reached, or refuses who we are; 128 + n when signal n stopped a command that had work left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import asyncpg
import nats.errors
import typer
import uvloop

from adapters.cli.console import err, harmless
from adapters.embedded.errors import ServerFailed
from adapters.roles.supervisor import RoleFailed
from domain.errors import AccessRefused, ConfigtrailError, Unavailable
from projections.outages import is_outage

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, int]]

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Of SQLSTATE: who we are, or the database that we ask for, is refused.
_REFUSED_CLASSES = ("28", "3D")


def run(work: Work, *, serves: bool, debug: bool) -> int:
    """Do the work in an event loop; returns the exit status, with the reason told on stderr.

    The first SIGINT or SIGTERM cancels the work; further ones don't hurry it. `serves`: the work
    is meant to go on until then, so that being stopped is success.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_stoppable(work, serves))
    except (typer.BadParameter, typer.Abort):
        # Wrong usage that only the command itself could see, or a question answered with no.
        raise
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        # The last resort of the program: every error becomes a line and an exit status.
        if debug:
            log.error("the command failed", exc_info=error)
        causes = list(leaves(error))
        told, status = explain(causes[0])
        err.print(f"configtrail: {harmless(told)}", markup=False, highlight=False, soft_wrap=True)
        return status


async def _stoppable(work: Work, serves: bool) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work(), name="command")
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            log.info("stopping, as asked by %s", signal.Signals(number).name)
            task.cancel()
        else:
            log.warning("stopping already; this may take some seconds")

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    await asyncio.wait([task])
    if not task.cancelled():
        return task.result()
    if not received:
        raise RuntimeError("the command was cancelled, and nobody asked for it")
    return DONE if serves else 128 + received[0]


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in groups of errors; cancelled tasks, which are consequences, only if alone."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    found = [leaf for one in error.exceptions for leaf in leaves(one)]
    told = [one for one in found if not isinstance(one, asyncio.CancelledError)]
    yield from told or found


def explain(error: BaseException) -> tuple[str, int]:
    """What to tell the user in one line, and the exit status.

    Only our own errors are quoted: those of others may hold anything.
    """
    match error:
        case RoleFailed() if error.__cause__ is not None:
            cause = next(leaves(error.__cause__))
            told, status = explain(cause)
            # Some errors name the part themselves.
            return told if told.startswith(error.role) else f"{error.role}: {told}", status
        case ServerFailed():
            told = f"the embedded {error.service} failed: {error.reason}; its log is {error.log}"
            return told, UNREACHABLE
        case Unavailable() | AccessRefused():
            return str(error), UNREACHABLE
        case ConfigtrailError():
            return str(error), FAILED
        case asyncpg.PostgresError() if (error.sqlstate or "").startswith(_REFUSED_CLASSES):
            return f"Postgres refuses us: {type(error).__name__}; look at the DSN", UNREACHABLE
        case nats.errors.AuthorizationError():
            return "NATS refuses us: look at user and password in the URL", UNREACHABLE
        case nats.errors.Error():
            return f"NATS: {type(error).__name__}", UNREACHABLE
        case RuntimeError(__context__=Exception() as hidden) if is_outage(error):
            # Something was sent on a connection that is gone, to end it after another error.
            return explain(hidden)
        case _ if is_outage(error):
            return f"a server does not answer: {type(error).__name__}", UNREACHABLE
        case _:
            return f"unexpected {type(error).__name__}; --debug shows where", FAILED
