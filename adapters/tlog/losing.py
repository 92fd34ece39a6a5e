"""Whether anything that was signed is lost: the stream no longer has what its checkpoints say."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from msgspec import Struct

from adapters.crypto.signing import SigningKey
from adapters.jetstream.checkpoints import CheckpointStore
from adapters.jetstream.verbatim import RawFeed
from adapters.postgres.signed_marks import Mark
from adapters.tlog.counting import accepted, counted, made_anew, refuse_another_streams
from domain.errors import NotVerified
from domain.tlog.findings import Claim
from domain.tlog.names import LogNames
from domain.tlog.verification import StreamCheck


class Loss(Struct, frozen=True):
    """Whether something is lost, and of which logs what is kept is signed by nobody that counts."""

    lost: bool
    unsigned: tuple[str, ...]


async def loss_of(
    feed: RawFeed,
    checkpoints: CheckpointStore,
    names: LogNames,
    key: SigningKey,
    marks: Iterable[Mark],
) -> Loss:
    """Whether one of the marks that count tells of what is not in the stream. Reads all of it.

    Raises `StreamMismatch` when the stream was made anew, `LogBroken`, `Unavailable`.
    """
    keys = (await accepted(checkpoints, names.base, key)).keys
    await refuse_another_streams(checkpoints, names, keys)
    claims: list[Claim] = []
    unsigned: list[str] = []
    for mark in marks:
        try:
            checkpoint = counted(mark, keys)
        except NotVerified:
            unsigned.append(mark.origin)
            continue
        if names.is_another_streams(mark.origin):
            raise made_anew(mark.origin, names)
        log = names.log(mark.origin)
        if log is not None:
            claims.append(Claim(log, checkpoint.size, checkpoint.root, 0))
    check = StreamCheck(feed.stream, claims)
    _, last = await feed.ends()
    async with aclosing(feed.read()) as batches:
        async for batch in batches:
            check.feed(batch)
    lost = check.finish(last) is not None or bool(check.findings)
    return Loss(lost, tuple(sorted(unsigned)))
