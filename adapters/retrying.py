"""Dead letters, tried again: a refused message is sent once more, failed work is done once more."""

from __future__ import annotations

import re
from contextlib import aclosing

from adapters.composition import System, differ, reaper
from domain.envelope import StoredEvent
from domain.errors import InvalidInput

_WORK = re.compile(r"(?:differ|reaper)\.([1-9][0-9]{0,18})\Z")


async def retry(system: System, number: int) -> int | None:
    """Try a dead letter again. The letter is gone afterwards; it stays when this raises.

    Returns the message's sequence on the intake, None when the work was done here. Raises
    `NotFound`, `InvalidInput` for a letter that can't be tried again, and what the work raises.
    """
    letter = await system.dead_letters.get(number)
    work = _WORK.match(letter.letter_id or "")
    if work is None or letter.origin not in ("differ", "reaper"):
        return await system.dead_letters.retry(number)
    stored = await _event_at(system, int(work[1]))
    if letter.origin == "differ":
        await differ(system).compare_neighbours(stored)
    else:
        await reaper(system).watch(stored)
    await system.dead_letters.settle(number)
    return None


async def _event_at(system: System, position: int) -> StoredEvent:
    if position <= await system.events.head():
        async with aclosing(system.events.read(position - 1, position)) as batches:
            async for batch in batches:
                return batch[0]
    raise InvalidInput("letter", f"it is about event {position}, which the stream does not have")
