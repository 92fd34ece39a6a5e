"""`deadletters`: what could not be recorded, and why; looking at one, and sending it again."""

from __future__ import annotations

import base64
from typing import Annotated

import typer
from msgspec.structs import asdict

from adapters.cli.arguments import Json, Limit
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import Need, session
from adapters.cli.tables import letters_table
from adapters.cli.texts import print_raw
from adapters.jetstream.progress import wait_acknowledged
from adapters.jetstream.streams import INTAKE
from adapters.retrying import retry
from adapters.roles.recorder import CONSUMER
from adapters.settings import Settings
from adapters.shapes.dead_letters import DeadLetterOut, letter_out

Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="As the list shows it.")]


class LetterBody(DeadLetterOut):
    """A letter with its message, as it came."""

    body_base64: str


async def list_letters(settings: Settings, *, limit: Limit = 50, as_json: Json = False) -> int:
    """List what could not be recorded, and why, newest first. Of all tenants."""
    async with session(settings, Need.NOTHING) as opened:
        found = await opened.system.dead_letters.list(limit)
        total = await opened.system.dead_letters.count()
    if as_json:
        print_json([letter_out(one) for one in found])
        return 0
    if found:
        out.print(letters_table(found))
    err.print(f"{total} dead letter{'s' * (total != 1)}")
    return 0


async def show_letter(settings: Settings, *, number: Number, as_json: Json = False) -> int:
    """Print the message as it came. Into a pipe it goes byte for byte."""
    async with session(settings, Need.NOTHING) as opened:
        letter = await opened.system.dead_letters.get(number)
        body = await opened.system.dead_letters.original(number)
    if as_json:
        encoded = base64.b64encode(body).decode()
        print_json(LetterBody(**asdict(letter_out(letter)), body_base64=encoded))
        return 0
    print_raw(body)
    told = f"{letter.subject}, refused: {letter.field}: {letter.rule}"
    err.print(harmless(told), markup=False, soft_wrap=True)
    return 0


async def retry_letter(settings: Settings, *, number: Number) -> int:
    """Send the message again, or do the work that failed. If it is refused again, it comes back
    under another number."""
    async with session(settings, Need.EVERYTHING) as opened:
        system = opened.system
        sequence = await retry(system, number)
        if sequence is not None and opened.hosts:
            # Nobody works it off after us.
            await wait_acknowledged(system.js, INTAKE, CONSUMER, sequence)
    told = "was sent to the intake again" if sequence else "is settled: its work is done now"
    err.print(f"dead letter {number} {told}")
    return 0
