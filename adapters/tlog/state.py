"""How the logs stand: how far they are signed, what is known to be, and what witnesses answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from adapters.jetstream.checkpoints import CheckpointStore
from adapters.postgres.signed_marks import marks_of
from adapters.postgres.witness_book import Answer, Outcome, answers
from adapters.witness.client import WitnessAddress
from domain.tlog.checkpoint import checkpoint_in
from domain.tlog.names import STREAM_LOG, LogNames
from projections.rows import Reader


class WitnessState(Struct, frozen=True):
    """What a witness answers: the worst of it, for how many logs, and since when. `outcome` is None
    for one that was not asked yet."""

    name: str
    outcome: Outcome | None
    lacking: int
    since: datetime | None
    told: str


class LogState(Struct, frozen=True):
    """The stream ends at `head`; up to `signed` it is under a checkpoint, and it was up to `kept`,
    as Postgres knows."""

    head: int
    signed: int
    kept: int
    witnesses: tuple[WitnessState, ...]


async def log_state(
    reader: Reader,
    checkpoints: CheckpointStore,
    names: LogNames,
    head: int,
    witnesses: Sequence[WitnessAddress],
) -> LogState:
    """How they stand now. Raises `NotVerified` for a last checkpoint that is none."""
    origin = names.origin(STREAM_LOG)
    last = await checkpoints.last(origin)
    mark = (await marks_of(reader, names.base)).get(origin)
    told = await answers(reader, names.base)
    return LogState(
        head,
        checkpoint_in(last.raw).size if last is not None else 0,
        mark.size if mark is not None else 0,
        tuple(_of(one.key.name, told) for one in witnesses),
    )


def _of(name: str, told: Sequence[Answer]) -> WitnessState:
    own = [one for one in told if one.asked.witness == name]
    lacking = [one for one in own if one.asked.outcome != "cosigned"]
    if not lacking:
        return WitnessState(name, "cosigned" if own else None, 0, None, "")
    # A refusal says more than silence.
    first = min(lacking, key=lambda one: (one.asked.outcome != "refused", one.since))
    return WitnessState(name, first.asked.outcome, len(lacking), first.since, first.asked.told)
