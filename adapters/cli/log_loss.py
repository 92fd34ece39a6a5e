"""`audit accept-loss`: going on although what was signed is lost; and what was given up so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated

import typer
from pydantic import BaseModel

from adapters.cli.arguments import Json
from adapters.cli.backup import whoami
from adapters.cli.console import err, harmless, print_json
from adapters.cli.log_keys import own_key
from adapters.cli.session import Need, session
from adapters.cli.tables import when
from adapters.postgres.signed_marks import GivenUp
from adapters.retention.erasing import check_said
from adapters.settings import Settings
from adapters.tlog.losing import loss_of
from adapters.tlog.proving import names_of
from domain.errors import InvalidInput
from domain.tlog.names import STREAM_LOG


class GivenUpOut(BaseModel):
    """A checkpoint that was signed, and that somebody said to be lost, with why."""

    log: str
    size: int
    at: datetime
    actor: str
    reason: str
    note: str


async def accept_loss(
    settings: Settings,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Stays on record.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: Json = False,
) -> int:
    """Go on signing from what is there, when what was signed beyond it can't be had back.

    Whoever kept a checkpoint of what is lost, a witness too, sees that it is: so it must be. The
    checkpoints that are given up stay on record with who said so, and audit verify tells of them.
    Where nothing is lost it refuses, and changes nothing.
    """
    check_said(whoami(), reason)
    async with session(settings, Need.NOTHING) as opened:
        log = opened.system.log
        marks = await log.marks.all_of(settings.log_name)
        if not marks:
            raise InvalidInput("accept-loss", "has nothing to give up: nothing is kept as signed")
        names = await names_of(opened.system)
        key = await asyncio.to_thread(own_key, settings)
        loss = await loss_of(log.events, log.checkpoints, names, key, marks.values())
        if not loss.lost and loss.unsigned:
            raise InvalidInput(
                "accept-loss",
                "has nothing to give up: what Postgres keeps as signed of "
                f"{', '.join(loss.unsigned)} is of no key of yours, and so tells of nothing that "
                "is lost: put the key back that signed it, or, if it is nobody's, delete that row "
                "of configtrail_signed.marks; nothing was changed",
            )
        if not loss.lost:
            raise InvalidInput(
                "accept-loss",
                "has nothing to give up: the stream has all that was signed, so configtrail up "
                "goes on from it; nothing was changed",
            )
        origin = names.origin(STREAM_LOG)
        _, head = await log.events.ends()
        size = marks[origin].size if origin in marks else 0
        told = f"{size} events were signed, and the stream ends at {head}"
        if not yes:
            asked = f"{told}: go on from there, and give up {len(marks)} checkpoints, for good?"
            await asyncio.to_thread(typer.confirm, asked, abort=True, err=True)
        gone = await log.marks.give_up(settings.log_name, actor=whoami(), reason=reason)
    if as_json:
        print_json([given_up_out(one) for one in gone])
        return 0
    err.print(
        f"{told}; {len(gone)} checkpoints are given up: start configtrail up, and keep a new one "
        "with configtrail audit checkpoint",
        soft_wrap=True,
    )
    return 0


def given_up_out(one: GivenUp) -> GivenUpOut:
    """As JSON tells it."""
    return GivenUpOut(
        log=one.origin,
        size=one.size,
        at=one.at,
        actor=one.actor,
        reason=one.reason,
        note=one.note,
    )


def tell_given_up(gone: Sequence[GivenUp]) -> None:
    """Say who gave up what was signed, and why."""
    for (at, actor, reason), some in groupby(gone, lambda one: (one.at, one.actor, one.reason)):
        logs = list(some)
        err.print(
            harmless(
                f"{when(at)}: {actor} gave up the checkpoints of {len(logs)} logs, of up to "
                f"{max(one.size for one in logs)} events, as lost: {reason}"
            ),
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
