"""`doctor`: what is wrong with this installation, in plain words; and mending streams."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated

import msgspec
import typer
from nats.aio.client import Client
from nats.js.errors import APIError, NotFoundError

from adapters.cli.arguments import Json
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import nats, servers
from adapters.diagnosing.finding import Finding
from adapters.diagnosing.nats import look_at_nats
from adapters.diagnosing.postgres import look_at_postgres
from adapters.diagnosing.signed_log import look_at_log
from adapters.diagnosing.streams import looked_after
from adapters.embedded.errors import NothingHere
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import mend_stream
from adapters.settings import Settings
from domain.errors import AccessRefused, InvalidInput, Unavailable, told_setting

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
        findings: list[Finding] = []
        try:
            found, _ = await servers(stack, settings, make=False, within=LOOK_SECONDS)
        except NothingHere as error:
            return _tell([Finding("data folder", "wrong", str(error))], as_json)
        except Unavailable as error:
            todo = "see what holds it up; its log is in the data folder"
            return _tell([Finding("servers", "wrong", str(error), todo)], as_json)
        source: JetStreamSource | None = None
        try:
            nc = await stack.enter_async_context(nats(found, within=LOOK_SECONDS))
        except (Unavailable, AccessRefused, InvalidInput) as error:
            findings.append(Finding("NATS", "wrong", str(error), "look at CONFIGTRAIL_NATS_URL"))
        else:
            if mend:
                findings += await _mend(nc, settings)
            findings += await look_at_nats(nc, settings)
            source = JetStreamSource(nc, nc.jetstream())
        if found.postgres_dsn is not None:
            dsn = found.postgres_dsn.get_secret_value()
            findings += await look_at_postgres(dsn, source)
            if source is not None:
                findings += await look_at_log(nc, dsn, settings)
        else:
            told = "CONFIGTRAIL_POSTGRES_DSN is not set"
            findings.append(Finding("Postgres", "notice", told, "set it where configtrail up runs"))
    return _tell(findings, as_json)


def _tell(findings: list[Finding], as_json: bool) -> int:
    if as_json:
        print_json([msgspec.to_builtins(one) for one in findings])
    else:
        for one in findings:
            line = f"{_MARKS[one.verdict]} {one.subject}: {one.told}"
            line += f"; {one.mend}" if one.mend else ""
            out.print(harmless(line), markup=False, soft_wrap=True)
    return int(any(one.verdict == "wrong" for one in findings))


async def _mend(nc: Client, settings: Settings) -> list[Finding]:
    """Mend what can be, saying so; what the server refuses is a finding."""
    refused = []
    for wanted in looked_after(settings):
        try:
            mended = await mend_stream(nc.jetstream(), wanted)
        except NotFoundError:  # nothing to mend: a start makes it
            continue
        except Unavailable:  # told by the findings
            break
        except APIError as error:
            told = f"the server refuses to mend it: {error.description}"
            refused.append(Finding(str(wanted.name), "wrong", told))
            continue
        for one in mended:
            told = (
                f"{one.stream}: {one.setting} was {told_setting(one.got)} and is "
                f"{told_setting(one.expected)} again"
            )
            err.print(told, markup=False, soft_wrap=True)
    return refused
