"""`doctor`: what is wrong with this installation, in plain words; and mending streams."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated

import msgspec
import typer
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from adapters.cli.arguments import Json
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import nats, servers
from adapters.diagnosis import Finding, look_at_nats, look_at_postgres
from adapters.jetstream.event_store import JetStreamEventStore
from adapters.jetstream.streams import mend_stream, wanted_streams
from adapters.settings import Settings
from domain.errors import Unavailable

LOOK_SECONDS = 5.0
_MARKS = {"fine": "fine   ", "notice": "notice ", "wrong": "WRONG  "}


async def doctor(
    settings: Settings,
    *,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Set streams whose settings would lose history right again."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Check server, clocks, streams, consumers, Postgres and keys, and say what is wrong.

    Status 1 when something is. Nothing is changed without --mend, which needs a NATS user that may
    change streams.
    """
    async with AsyncExitStack() as stack:
        found, _ = await servers(stack, settings)
        findings: list[Finding] = []
        head: int | None = None
        try:
            nc = await stack.enter_async_context(nats(found, within=LOOK_SECONDS))
        except Unavailable as error:
            findings.append(Finding("NATS", "wrong", str(error), "look at CONFIGTRAIL_NATS_URL"))
        else:
            if mend:
                await _mend(nc, settings)
            findings += await look_at_nats(nc, settings)
            head = await _head(nc)
        if found.postgres_dsn is not None:
            findings += await look_at_postgres(found.postgres_dsn.get_secret_value(), head)
        else:
            told = "CONFIGTRAIL_POSTGRES_DSN is not set"
            findings.append(Finding("Postgres", "notice", told, "set it where configtrail up runs"))
    if as_json:
        print_json([msgspec.to_builtins(one) for one in findings])
    else:
        for one in findings:
            line = f"{_MARKS[one.verdict]} {one.subject}: {one.told}"
            line += f"; {one.mend}" if one.mend else ""
            out.print(harmless(line), markup=False, soft_wrap=True)
    return int(any(one.verdict == "wrong" for one in findings))


async def _head(nc: Client) -> int | None:
    try:
        return await JetStreamEventStore(nc, nc.jetstream()).head()
    except (NotFoundError, Unavailable):  # the findings say so already
        return None


async def _mend(nc: Client, settings: Settings) -> None:
    for wanted in wanted_streams(settings.stream_replicas, settings.intake_max_bytes):
        try:
            mended = await mend_stream(nc.jetstream(), wanted)
        except NotFoundError:  # nothing to mend: a start makes it
            continue
        for one in mended:
            told = f"{one.stream}: {one.setting} was {one.got!r} and is {one.expected!r} again"
            err.print(told, markup=False, soft_wrap=True)
