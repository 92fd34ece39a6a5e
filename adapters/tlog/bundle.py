"""The audit bundle: a stretch of a tenant's history in one file that verifies by itself.

What is in it says only hashes of other tenants. The stretch is by when the stream stored the
events: in its order, without gaps, so that it can be shown to be complete.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from adapters.crypto.signing import check_ed25519
from adapters.jetstream.checkpoints import StoredNote, read_notes
from adapters.jetstream.verbatim import Reader
from adapters.tlog.archive import Archive
from adapters.tlog.offline.joined import verifier
from adapters.tlog.proofs import Prover, Sealed, Stretch
from adapters.tlog.proving import names_of, prover_of
from domain.contents import contents_of
from domain.errors import ContentMissing, InvalidInput, KeyDestroyed, NotVerified, Unavailable
from domain.ids import to_token
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.leaf import RawEvent, hash_of, leaf_data
from domain.tlog.names import STREAM_LOG, tenant_log, tenant_of_subject
from domain.tlog.note import VerifierKey, parse_note, verified
from domain.tlog.proof import InclusionProof
from projections.source import Unreadable

if TYPE_CHECKING:
    from adapters.composition import System

# Older checkpoints, and events with a proof of their own in the C2SP form, as examples.
MOST_CHECKPOINTS = 20
MOST_PROOFS = 100
_SECOND_NS = 1_000_000_000

README = """\
Configtrail audit bundle of the tenant {tenant}

bundle.json        what this is about, and the hashes that prove the stretch to be complete
events.jsonl       the events, one a line: headers and body (base64) exactly as they are stored
checkpoint         the signed checkpoint of the tenant's log (C2SP tlog-checkpoint)
stream-checkpoint  that of the log of the whole stream
stream-leaves.bin  hashes of what else is in the stream between the first and the last event
checkpoints/       older checkpoints of the tenant's log, with proofs that it only grew since
proofs/            inclusion proofs of some events (C2SP tlog-proof), for other tools
content/           configurations and differences, if they were asked for, with the salts that open
                   the commitments in their events
keys               the verifier keys of both logs. Compare them with those you were given: a bundle
                   that was made up has made-up keys
verify.py          checks all of this offline, with Python alone:

    python3 -I verify.py --key '<key of the tenant log>' --key '<key of the stream log>'

                   Whoever made the bundle made that file too: better take the one that
                   `configtrail audit verifier` prints where you trust it, and name this folder.

The signature of a checkpoint can be checked with OpenSSL too; Configtrail's docs/audit.md says how,
and what is proven by all this and what is not.
"""


class Exported(Struct, frozen=True):
    """What went into a bundle."""

    path: Path
    events: int
    contents: int
    missing: int
    size: int


class Found(Struct, frozen=True):
    """The stretch: its events, and the tenant's events before and after it."""

    events: list[RawEvent]
    before: RawEvent | None
    after: RawEvent | None


Progress = Callable[[int, int], None]


async def export(
    system: System,
    path: Path,
    *,
    tenant_id: str,
    keys: tuple[VerifierKey, ...],
    since: datetime | None,
    until: datetime | None,
    content: bool,
    kept: Sequence[bytes] = (),
    progress: Progress | None = None,
) -> Exported:
    """Write the bundle of what the stream stored of a tenant from `since` to `until`, as far as it
    is sealed. Never over a file that is there. `kept`: checkpoints of the tenant's log that its
    reader has; the proofs that it only grew since go with it.

    Raises `NotFound` when nothing is sealed yet, `NotVerified` when the stream, the tiles and the
    checkpoints don't agree or a kept one is none, `InvalidInput` when the file can't be written.
    """
    prover = await prover_of(system)
    log = tenant_log(tenant_id)
    sealed, stream_sealed = await prover.sealed(log), await prover.sealed(STREAM_LOG)
    from_ns = 0 if since is None else _nanoseconds(since)
    to_ns = 2**63 - 1 if until is None else _nanoseconds(until) + 999
    found = await collect(system, tenant_id, sealed.checkpoint.size, from_ns, to_ns, progress)
    edges = [one for one in (found.before, *found.events, found.after) if one is not None]
    first = await system.log.tiles.index(log, edges[0].position) if edges else 0
    if first is None:
        raise NotVerified("the tiles", "they lack an event; run audit verify")
    stretch = await prover.stretch(log, first, first + len(edges), sealed)
    stream = system.log.events.stream
    if [hash_of(stream, one) for one in edges] != list(stretch.leaves):
        raise NotVerified("the stream", "its events are not what was signed; run audit verify")
    inside = Stretch(0, (), (), ())
    if found.events:
        start, end = found.events[0].position - 1, found.events[-1].position
        if end > stream_sealed.checkpoint.size:
            raise Unavailable("the sealer", "it is in the middle of a round; try again")
        inside = await prover.stretch(STREAM_LOG, start, end, stream_sealed)
    names = await names_of(system)
    about = {
        "format": "configtrail/bundle@v1",
        "tenant": tenant_id,
        "tenant_token": to_token(tenant_id),
        "log": names.origin(log),
        "stream_log": names.origin(STREAM_LOG),
        "stream": stream,
        "from_ns": from_ns,
        "to_ns": to_ns,
        "events": len(found.events),
        "index": first + (found.before is not None),
        "leaf_before": _leaf(stream, found.before),
        "leaf_after": _leaf(stream, found.after),
        "before": [_encoded(one) for one in stretch.before],
        "after": [_encoded(one) for one in stretch.after],
        "in_stream": {
            "before": [_encoded(one) for one in inside.before],
            "after": [_encoded(one) for one in inside.after],
        },
    }
    with Archive(path) as archive:
        archive.add("README.txt", README.format(tenant=tenant_id).encode())
        archive.add("verify.py", verifier().encode())
        archive.add("bundle.json", json.dumps(about, indent=1).encode())
        archive.add("keys", "".join(f"{key}\n" for key in keys).encode())
        archive.add("checkpoint", str(sealed.note).encode())
        archive.add("stream-checkpoint", str(stream_sealed.note).encode())
        archive.add("stream-leaves.bin", b"".join(inside.leaves))
        archive.add("events.jsonl", b"".join(_line(one) for one in found.events))
        for name, body in await _older(system, prover, log, sealed, keys, kept):
            archive.add(name, body)
        for one in found.events[:MOST_PROOFS]:
            proof = await prover.inclusion(log, one.position, sealed)
            whole = InclusionProof(proof.index, proof.hashes, proof.note, leaf_data(stream, one))
            archive.add(f"proofs/{one.position}.tlog-proof", str(whole).encode())
        contents = missing = 0
        if content:
            contents, missing = await _add_contents(system, archive, found.events)
    return Exported(path, len(found.events), contents, missing, archive.size)


async def collect(
    system: System,
    tenant_id: str,
    size: int,
    from_ns: int,
    to_ns: int,
    progress: Progress | None,
) -> Found:
    """All that was stored in that time, of the first `size` events of a tenant.

    The server's clock may have been set back: the stretch is cut where what stands before it is
    older, and what stands after it is younger.
    """
    begun, start, end = False, 0, None
    async for one in _own(system, tenant_id, size, progress):
        if from_ns <= one.stored_ns <= to_ns:
            begun, end = True, None
        elif one.stored_ns > to_ns:
            end = end or one.position
        elif not begun:
            start, end = one.position, None
    events: list[RawEvent] = []
    before: RawEvent | None = None
    async for one in _own(system, tenant_id, size, None):
        if one.position <= start:
            before = one
        elif one.position == end:
            return Found(events, before, one)
        else:
            events.append(one)
    return Found(events, before, None)


async def _own(
    system: System, tenant_id: str, size: int, progress: Progress | None
) -> AsyncGenerator[RawEvent, None]:
    """The tenant's events, as many as are sealed."""
    count = 0
    _, last = await system.log.events.ends()
    async with aclosing(system.log.events.read()) as batches:
        async for batch in batches:
            for one in batch:
                if count < size and tenant_of_subject(one.subject) == tenant_id:
                    count += 1
                    yield one
            if count == size:
                return
            if progress is not None:
                progress(batch[-1].position, last)


async def _older(
    system: System,
    prover: Prover,
    log: str,
    sealed: Sealed,
    keys: tuple[VerifierKey, ...],
    kept: Sequence[bytes],
) -> list[tuple[str, bytes]]:
    """Older checkpoints, those that were kept and others spread over the log's life, and that it
    only grew since each."""
    origin = sealed.checkpoint.origin
    notes: dict[int, StoredNote] = {}
    async with aclosing(read_notes(system.log.notes)) as batches:
        async for batch in batches:
            for one in batch:
                if one.origin == origin:
                    notes[parse_checkpoint(parse_note(one.raw).text).size] = one
    sizes = sorted(size for size in notes if 0 < size < sealed.checkpoint.size)
    step = max(1, -(-len(sizes) // MOST_CHECKPOINTS))
    own = [key for key in keys if key.name == origin]
    wanted: dict[int, bytes | None] = {}
    for size in sizes[::-1][::step]:
        # Others are of the time of another key, which the bundle's reader does not have.
        with suppress(NotVerified):
            verified(parse_note(notes[size].raw), own, check_ed25519)
            wanted[size] = notes[size].raw
    for told in kept:
        checkpoint = parse_checkpoint(parse_note(told).text)
        if checkpoint.origin != origin:
            raise InvalidInput("--checkpoint", f"must be of {origin}, is of {checkpoint.origin}")
        if 0 < checkpoint.size < sealed.checkpoint.size:
            wanted.setdefault(checkpoint.size, None)
    files: list[tuple[str, bytes]] = []
    for size, raw in sorted(wanted.items()):
        proof = await prover.consistency(log, size, sealed)
        lines = "".join(f"{_encoded(one)}\n" for one in proof.hashes)
        # One that was kept may be of an older key: its reader has it, the proof is all that lacks.
        if raw is not None:
            files.append((f"checkpoints/{size:012d}.note", raw))
        files.append((f"checkpoints/{size:012d}.proof", lines.encode()))
    return files


async def _add_contents(
    system: System, archive: Archive, events: list[RawEvent]
) -> tuple[int, int]:
    found = missing = 0
    reader = Reader()
    for raw in events:
        one = reader.read(raw)
        if isinstance(one, Unreadable):
            continue
        for kind, ref in contents_of(one):
            if kind == "changes":
                continue  # words for people, worked out from the two texts
            try:
                salt, text = await system.content.opening(one.tenant_id, one.device_id, kind, ref)
            except (ContentMissing, KeyDestroyed):
                missing += 1
                continue
            archive.add(f"content/{one.position}.txt", text)
            archive.add(f"content/{one.position}.salt", salt.hex().encode() + b"\n")
            found += 1
    return found, missing


def _line(event: RawEvent) -> bytes:
    row: dict[str, Any] = {
        "position": event.position,
        "stored_ns": event.stored_ns,
        "subject": event.subject,
        "headers": _encoded(event.block),
        "body": _encoded(event.body),
    }
    return json.dumps(row).encode() + b"\n"


def _leaf(stream: str, event: RawEvent | None) -> str | None:
    return None if event is None else _encoded(leaf_data(stream, event))


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _nanoseconds(moment: datetime) -> int:
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * _SECOND_NS + moment.microsecond * 1000
