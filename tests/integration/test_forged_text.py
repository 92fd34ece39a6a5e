"""A text that was exchanged by somebody who has the keys: another valid one lies in its place."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.crypto import blob, committed
from adapters.crypto.blob import BlobContext
from adapters.embedded.nats import EmbeddedNats
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.tlog.bundle import export
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.verify import Options, verify
from domain.events import ContentRef, SnapshotCreated
from domain.tlog.names import STREAM_LOG, tenant_log
from tests.integration.test_bundle import Made, unpack
from tests.integration.test_orphans import ACME, late
from tests.integration.test_recorder import export as text_of
from tests.integration.test_recorder import record, wire
from tests.logs import BASE, KEY, names, seal
from tests.rig import Rig, rig

CONTEXT = BlobContext(*ACME, "snapshot")
TRUE, FORGED = b"/system identity\nset name=r1\n", b"/system identity\nset name=r2\n"


async def of_its_own(one: Rig, true: ContentRef) -> bytes:
    """It opens the commitment that it was made with."""
    return blob.seal(await one.keyring.device(*ACME, 0), CONTEXT, FORGED)[0]


async def under_the_true_commitment(one: Rig, true: ContentRef) -> bytes:
    """It is bound to the event's commitment, and opens another."""
    keys = await one.keyring.device(*ACME, 0)
    salt = bytes(32)
    packed = blob._zstd.compressor.compress(FORGED)
    aad = blob._aad(CONTEXT, bytes.fromhex(true.commitment), keys.key_id)
    sealed = committed.seal(
        keys.content_key, blob._PURPOSE, aad, salt + packed, committed.new_salt()
    )
    return bytes((blob.VERSION, blob.CODEC_ZSTD)) + keys.key_id + sealed


async def in_parts_that_are_not_told(one: Rig, true: ContentRef) -> bytes:
    """A list of parts that is none."""
    return b"\xa1?"


@pytest.mark.parametrize(
    "forge", [of_its_own, under_the_true_commitment, in_parts_that_are_not_told]
)
async def test_it_is_named_by_verification_and_by_the_bundles_verifier(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path, forge: Any
) -> None:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        await record(one, wire(text_of("192.0.2.1")))
        (first,) = await one.history(*ACME)
        true = await one.content.put(*ACME, "snapshot", TRUE)
        placed = await one.js.publish("configtrail-content.acme.r1", await forge(one, true))
        state = await one.devices.refresh(*ACME)
        event = late(first, ContentRef(sequence=placed.seq, commitment=true.commitment))
        position = (await one.events.append(event, state.head)).position
        await seal(one, pool)
        evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
        report = await verify(evidence, Options(BASE, (KEY.public,), rows=False))
        found = [(told.what, told.kind, told.position) for told in report.findings]
        assert found == [("content", "altered", position)]

        known = await names(one)
        keys = tuple(KEY.verifier(known.origin(log)) for log in (tenant_log("acme"), STREAM_LOG))
        log = SimpleNamespace(
            events=one.raw, notes=one.notes, checkpoints=one.checkpoints, tiles=TileStore(pool)
        )
        settings = SimpleNamespace(log_name=BASE, witnesses="")
        told: list[object] = []

        async def shown(*text: object) -> None:
            told.append(text)

        done = await export(
            cast("Any", SimpleNamespace(log=log, settings=settings, content=one.content)),
            tmp_path / "made",
            tenant_id="acme",
            keys=keys,
            since=None,
            until=None,
            shown=shown,
        )
    assert (done.events, done.contents, done.altered) == (2, 1, 1)
    # What is left out is not told as shown.
    assert len(told) == 1
    unpack(tmp_path / "made", tmp_path)
    made = Made(tmp_path / "bundle", keys, tmp_path)
    assert isinstance(first.event, SnapshotCreated)
    status, said = made.check()
    assert (status, said.splitlines()[-1]) == (0, "VERIFIED")
    # Who makes the bundle puts it in, with the salt of a commitment that it truly opens.
    content = made.folder / "content"
    (content / f"{position}.txt").write_bytes(FORGED)
    (content / f"{position}.salt").write_text(bytes(32).hex())
    assert hashlib.sha256(bytes(32) + FORGED).hexdigest() != true.commitment
    status, said = made.check()
    assert status == 1
    verdict = said.splitlines()[-1]
    assert verdict == f"FAILED: content/{position}.txt is not the text that was recorded"
