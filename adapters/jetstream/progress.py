"""How far a consumer has come, told by its acknowledgements.

Not by what it has pending: just after a consumer was made, the server may say that nothing is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from adapters.jetstream.connection import outage_as_unavailable
from domain.errors import Unavailable

# Without any progress for this long, whoever should do the work is not there.
STALLED_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05


async def acknowledged(js: JetStreamContext, stream: str, consumer: str) -> int:
    """All of the consumer's messages up to this sequence are acknowledged; 0 when none is, or the
    consumer is not there yet. Raises `Unavailable`."""
    with outage_as_unavailable(f"asking how far the {consumer} is"):
        try:
            info = await js.consumer_info(stream, consumer)
        except NotFoundError:
            return 0
    return (info.ack_floor.stream_seq or 0) if info.ack_floor else 0


async def newest(js: JetStreamContext, stream: str, subject: str) -> int:
    """The sequence of the newest message that waits under a subject; 0 when none does. Raises
    `Unavailable`."""
    with outage_as_unavailable("asking what waits"):
        try:
            return (await js.get_last_msg(stream, subject)).seq or 0
        except NotFoundError:
            return 0


async def wait_acknowledged(
    js: JetStreamContext,
    stream: str,
    consumer: str,
    sequence: int,
    *,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Return when the consumer has acknowledged all up to `sequence`; `told` hears how far it is.

    Raises `Unavailable` when it does not move for `STALLED_SECONDS`.
    """
    loop = asyncio.get_running_loop()
    floor, moved = -1, loop.time()
    while True:
        reached = await acknowledged(js, stream, consumer)
        if reached != floor:
            floor, moved = reached, loop.time()
            told(floor)
        if floor >= sequence:
            return
        if loop.time() - moved > STALLED_SECONDS:
            raise Unavailable(
                f"the {consumer}",
                f"it has not moved for {STALLED_SECONDS:g} s; what was sent is durable and will be "
                "worked off when one runs",
            )
        await asyncio.sleep(_LOOK_SECONDS)
