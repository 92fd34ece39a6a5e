"""Whether anything that was signed is lost: the stream no longer has what its checkpoints say."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from adapters.jetstream.verbatim import RawFeed
from adapters.postgres.signed_marks import Mark
from domain.errors import NotVerified
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.findings import Claim
from domain.tlog.names import LogNames
from domain.tlog.note import parse_note
from domain.tlog.verification import StreamCheck


async def is_lost(feed: RawFeed, names: LogNames, marks: Iterable[Mark]) -> bool:
    """Whether one of the marks tells of what is not in the stream. One of another stream's log
    does, and so does one that is no checkpoint. Reads the whole stream; raises `Unavailable`."""
    claims: list[Claim] = []
    marks = list(marks)
    _, last = await feed.ends()
    for mark in marks:
        log = names.log(mark.origin)
        try:
            checkpoint = parse_checkpoint(parse_note(mark.note.encode()).text)
        except NotVerified:
            return True
        if log is None or mark.position > last:
            return True
        claims.append(Claim(log, checkpoint.size, checkpoint.root, 0))
    check = StreamCheck(feed.stream, claims)
    async with aclosing(feed.read()) as batches:
        async for batch in batches:
            check.feed(batch)
    return check.finish(last) is not None or bool(check.findings)
