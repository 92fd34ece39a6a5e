"""The audit bundle: a stretch of a tenant's history in one file that verifies by itself.

What is in it says only hashes of other tenants. The stretch is by when the stream stored the
events: in its order, without gaps, so that it can be shown to be complete. It is read from the
stream as often as need be, and never held: history may be larger than memory.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from adapters.tlog.archive import Archive, Spool
from adapters.tlog.bundled_texts import Shown, add_texts
from adapters.tlog.choosing import chosen
from adapters.tlog.cutting import Progress, cut_of
from adapters.tlog.offline.joined import verifier
from adapters.tlog.older import older
from adapters.tlog.proofs import Around
from adapters.tlog.proving import names_of, prover_of
from adapters.tlog.stretch import Stretch, encoded, positions
from domain.errors import NotVerified, Unavailable
from domain.ids import to_token
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.note import VerifierKey
from domain.tlog.proof import InclusionProof

if TYPE_CHECKING:
    from adapters.composition import System

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
    """What went into a bundle. Of the texts that belong into it, `missing` ones are gone; `altered`
    ones are not what was recorded, and were left out."""

    path: Path
    events: int
    contents: int
    missing: int
    altered: int
    size: int


async def export(
    system: System,
    path: Path,
    *,
    tenant_id: str,
    keys: tuple[VerifierKey, ...],
    since: datetime | None,
    until: datetime | None,
    shown: Shown | None,
    kept: Sequence[bytes] = (),
    progress: Progress | None = None,
) -> Exported:
    """Write the bundle of what the stream stored of a tenant from `since` to `until`, as far as it
    is sealed; where witnesses are slower than the log grows, as far as they cosigned it just now.
    Never over a file that is there. `kept`: checkpoints of the tenant's log that its
    reader has; the proofs that it only grew since go with it. With `shown`, which records it first,
    the texts are in it as they are.

    Raises `NotFound` when nothing is sealed yet, `NotVerified` when the stream, the tiles and the
    checkpoints don't agree or a kept one is none, `InvalidInput` when the file can't be written,
    `Unavailable` when the sealer does not end the round that it is in.
    """
    prover = await prover_of(system)
    log, feed = tenant_log(tenant_id), system.log.events
    names = await names_of(system)
    sealed, stream_sealed = await chosen(system, names, log, keys, kept, time.time())
    from_ns = 0 if since is None else _nanoseconds(since)
    to_ns = 2**63 - 1 if until is None else _nanoseconds(until) + 999
    with Archive(path) as archive, Spool(path.parent) as lines, Spool(path.parent) as leaves:
        cut = await cut_of(feed, tenant_id, sealed.checkpoint.size, from_ns, to_ns, progress)
        index = await system.log.tiles.index(log, cut.begin) if cut.width else 0
        if index is None:
            raise NotVerified("the tiles", "they lack an event; run audit verify")
        if cut.last > stream_sealed.checkpoint.size:
            raise Unavailable(
                "the sealer",
                "it has signed the tenant's log, and not yet the stream's; see configtrail audit "
                "state, and try again",
            )
        own = await prover.around(log, index, index + cut.width, sealed)
        inside = Around(0, (), ())
        if cut.count:
            inside = await prover.around(STREAM_LOG, cut.first - 1, cut.last, stream_sealed)
        read = Stretch(feed.stream, tenant_id, cut, own, inside, lines, leaves)
        async with aclosing(positions(feed, cut.begin, cut.end)) as events:
            async for event in events:
                read.take(event)
        read.check(sealed, stream_sealed)
        about = {
            "format": "configtrail/bundle@v1",
            "tenant": tenant_id,
            "tenant_token": to_token(tenant_id),
            "log": names.origin(log),
            "stream_log": names.origin(STREAM_LOG),
            "stream": feed.stream,
            "from_ns": from_ns,
            "to_ns": to_ns,
            "events": cut.count,
            "index": index + bool(cut.before),
            "leaf_before": read.edges.get(cut.before),
            "leaf_after": read.edges.get(cut.after),
            "before": [encoded(one) for one in own.before],
            "after": [encoded(one) for one in own.after],
            "in_stream": {
                "before": [encoded(one) for one in inside.before],
                "after": [encoded(one) for one in inside.after],
            },
        }
        archive.add("README.txt", README.format(tenant=tenant_id).encode())
        archive.add("verify.py", verifier().encode())
        archive.add("bundle.json", json.dumps(about, indent=1).encode())
        archive.add("keys", "".join(f"{key}\n" for key in keys).encode())
        archive.add("checkpoint", str(sealed.note).encode())
        archive.add("stream-checkpoint", str(stream_sealed.note).encode())
        await asyncio.to_thread(archive.add_spool, "stream-leaves.bin", leaves)
        await asyncio.to_thread(archive.add_spool, "events.jsonl", lines)
        for name, body in await older(system, prover, log, sealed, keys, kept):
            archive.add(name, body)
        for position, leaf in read.examples:
            proof = await prover.inclusion(log, position, sealed)
            whole = InclusionProof(proof.index, proof.hashes, proof.note, leaf)
            archive.add(f"proofs/{position}.tlog-proof", str(whole).encode())
        found = missing = altered = 0
        if shown is not None and cut.count:
            found, missing, altered = await add_texts(system, archive, tenant_id, cut, shown)
    return Exported(path, cut.count, found, missing, altered, archive.size)


def _nanoseconds(moment: datetime) -> int:
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * _SECOND_NS + moment.microsecond * 1000
