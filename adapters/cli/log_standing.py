"""`audit state`: how far the logs are signed, and what witnesses answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from adapters.cli.arguments import Json
from adapters.cli.console import err, out, print_json
from adapters.cli.log_loss import GivenUpOut, given_up_out, tell_given_up
from adapters.cli.session import Need, session
from adapters.cli.tables import cell, table, when
from adapters.settings import Settings
from adapters.tlog.proving import names_of
from adapters.tlog.state import log_state
from adapters.witness.client import parse_witnesses


class WitnessOut(BaseModel):
    """What a witness answers: `outcome` is cosigned, refused or away, None before it was asked."""

    name: str
    outcome: str | None
    lacking: int
    since: datetime | None
    told: str


class StateOut(BaseModel):
    """How the log of the stream stands."""

    head: int
    signed: int
    witnesses: list[WitnessOut]
    given_up: list[GivenUpOut]


async def show_state(settings: Settings, *, as_json: Json = False) -> int:
    """Show how far the stream is signed, and what each witness answers. Status 1 when one of them
    did not cosign what it was asked for."""
    witnesses = parse_witnesses(settings.witnesses)
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        _, head = await system.log.events.ends()
        names = await names_of(system)
        state = await log_state(system.pool, system.log.checkpoints, names, head, witnesses)
        given_up = await system.log.marks.given_up(settings.log_name)
    lacking = any(one.lacking for one in state.witnesses)
    if as_json:
        shown = [
            WitnessOut(
                name=one.name,
                outcome=one.outcome,
                lacking=one.lacking,
                since=one.since,
                told=one.told,
            )
            for one in state.witnesses
        ]
        print_json(
            StateOut(
                head=state.head,
                signed=state.signed,
                witnesses=shown,
                given_up=[given_up_out(one) for one in given_up],
            )
        )
        return int(lacking)
    if state.witnesses:
        made = table("WITNESS", "ANSWERS", "LACKING", "SINCE", "SAYS", numbers=("LACKING",))
        for witness in state.witnesses:
            made.add_row(
                cell(witness.name),
                cell(witness.outcome or "not asked", "red" if witness.lacking else ""),
                cell(witness.lacking),
                cell(when(witness.since) if witness.since else "-"),
                cell(witness.told or "-"),
            )
        out.print(made)
    err.print(f"signed up to position {state.signed} of {state.head}")
    tell_given_up(given_up)
    return int(lacking)
