"""A connection that is gone is an outage, in whatever words the loop says so."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from adapters.cli.program import UNREACHABLE, explain
from domain.errors import Unavailable
from projections.outages import is_outage


async def ended_after(error: Exception) -> None:
    """What uvloop raises when something is sent on a closed connection, after another error."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.transport.abort()
    await writer.wait_closed()
    server.close()
    try:
        raise error
    finally:
        writer.transport.write(b"goodbye")


def test_a_closed_handle_is_an_outage_and_the_error_before_it_is_told() -> None:
    hidden = Unavailable("Postgres", "it was killed")
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(RuntimeError) as caught,
    ):
        runner.run(ended_after(hidden))
    assert is_outage(caught.value)
    assert explain(caught.value) == (str(hidden), UNREACHABLE)


def test_other_errors_while_running_are_none() -> None:
    assert not is_outage(RuntimeError("generator didn't stop"))
    assert not is_outage(RecursionError("; the handler is closed"))
