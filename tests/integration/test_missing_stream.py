"""A stream that somebody deleted: whoever needs it waits, and who only asks does not make it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import pytest
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import NotFoundError

from adapters.access.keys import BUCKET as KEY_USE
from adapters.cli.session import Need, session
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.composition import open_system
from adapters.crypto.blob import BlobContext, seal
from adapters.diagnosing.streams import look_at_streams
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.buckets import Bucket
from adapters.jetstream.checkpoints import CHECKPOINTS
from adapters.jetstream.connection import connect
from adapters.jetstream.content_store import CONTENT
from adapters.jetstream.dead_letters import DEAD_LETTERS
from adapters.jetstream.key_store import BUCKET, DEVICE_KEYS, KEYS, device_keys_config
from adapters.jetstream.leases import BUCKET as LEASES
from adapters.jetstream.streams import EVENTS, INTAKE, ensure_streams
from adapters.retention.removing import BUCKET as RETENTION
from adapters.roles.supervisor import running
from adapters.uploading import KEPT_SECONDS
from adapters.uploading import KEYS as UPLOADS
from domain.errors import StreamMissing
from domain.events import ContentRef
from projections import AUDIT
from projections.checkpoints import wait_projected
from projections.engine import ProjectionWorker
from tests.behaviour.event_store import append_many
from tests.rig import rig
from tests.serving import settings_for
from tests.support import eventually


async def test_a_read_model_waits_for_a_missing_stream(
    nats_server: EmbeddedNats,
    postgres_dsn: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        await system.js.delete_stream(EVENTS)
        worker = ProjectionWorker(system.pool, system.source, AUDIT)
        async with running({"audit": worker.run}):
            await eventually(lambda: f"{EVENTS}: it is not there" in caplog.text)
            await ensure_streams(system.js, replicas=1, intake_max_bytes=1 << 30)
            await append_many(system.events, 2)
            await wait_projected(system.pool, [AUDIT], 2, 20)


@pytest.mark.parametrize("need", [Need.NOTHING, Need.READ_MODELS_AS_THEY_ARE])
async def test_who_only_asks_makes_no_stream_that_was_deleted(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path, need: Need
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path)
    # Where nothing was made before, everything is.
    async with session(settings, Need.NOTHING) as opened:
        js = opened.system.js
        await append_many(opened.system.events, 1)
        await js.delete_stream(EVENTS)
        with pytest.raises(StreamMissing, match="put it back from a copy"):
            async with asyncio.timeout(20), session(settings, need):
                pass
        with pytest.raises(NotFoundError):
            await js.stream_info(EVENTS)


KEPT = (
    EVENTS,
    CONTENT,
    DEAD_LETTERS,
    INTAKE,
    CHECKPOINTS,
    KEYS,
    DEVICE_KEYS,
    f"KV_{CREDENTIALS}",
)


@pytest.mark.parametrize("gone", KEPT)
async def test_who_only_asks_makes_nothing_that_cannot_be_made_again(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path, gone: str
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path)
    async with session(settings, Need.NOTHING) as opened:
        js = opened.system.js
        await append_many(opened.system.events, 1)
        await js.delete_stream(gone)
        with pytest.raises(StreamMissing, match=f"{gone}: .* put it back from a copy"):
            async with asyncio.timeout(20), session(settings, Need.NOTHING):
                pass
        with pytest.raises(NotFoundError):
            await js.stream_info(gone)


async def test_what_was_deleted_beside_a_running_program_is_told_as_missing(
    nats_server: EmbeddedNats,
) -> None:
    async with rig(nats_server.url) as one:
        bucket, letters, checkpoints = (
            Bucket(one.js, CREDENTIALS),
            one.dead_letters,
            one.checkpoints,
        )
        for stream, asked in (
            (f"KV_{CREDENTIALS}", lambda: bucket.get("acme", "a")),
            (f"KV_{CREDENTIALS}", lambda: bucket.put(b"", "acme", "a")),
            (f"KV_{CREDENTIALS}", lambda: bucket.names("acme")),
            (f"KV_{CREDENTIALS}", lambda: bucket.drop("acme", "a")),
            (f"KV_{CREDENTIALS}", lambda: bucket.entry("acme", "a")),
            (f"KV_{CREDENTIALS}", lambda: bucket.entries("acme", "*")),
            (f"KV_{CREDENTIALS}", lambda: bucket.put_after(b"", "acme", "a", after=0)),
            (f"KV_{CREDENTIALS}", lambda: bucket.replace(b"", b"", "acme", "a")),
            (DEAD_LETTERS, lambda: letters.list(10)),
            (DEAD_LETTERS, letters.count),
            (CHECKPOINTS, checkpoints.origins),
            (CHECKPOINTS, lambda: checkpoints.last("configtrail.example/test/stream")),
        ):
            with suppress(NotFoundError):
                await one.js.delete_stream(stream)
            with pytest.raises(StreamMissing, match=stream):
                await asked()


async def test_keys_are_not_made_anew_beside_what_is_kept_under_them(
    nats_server: EmbeddedNats,
) -> None:
    async with rig(nats_server.url) as before:
        await before.content.put("acme", "r1", "snapshot", b"text")
        await before.js.delete_stream(DEVICE_KEYS)
        with pytest.raises(StreamMissing, match=DEVICE_KEYS):
            async with rig(nats_server.url):
                pass
        await before.js.delete_stream(KEYS)
        with pytest.raises(StreamMissing, match=KEYS):
            async with rig(nats_server.url):
                pass
        left = {one.config.name for one in await before.js.streams_info()}
        assert not left & {DEVICE_KEYS, KEYS}
        # A person who has no copy says so by making them.
        await before.js.create_key_value(KeyValueConfig(bucket=BUCKET))
        await before.js.add_stream(device_keys_config(1))
        async with rig(nats_server.url) as after:
            ref = await after.content.put("acme", "r1", "snapshot", b"text")
            assert await after.content.get("acme", "r1", "snapshot", ref) == b"text"


async def test_a_start_that_was_broken_off_goes_on_and_a_newer_program_makes_what_it_has_more(
    nats_server: EmbeddedNats,
) -> None:
    nc = await connect(nats_server.url, name="test")
    await ensure_streams(nc.jetstream(), replicas=1, intake_max_bytes=1 << 30)
    async with rig(nats_server.url) as first:
        # As before devices had keys: texts are under their tenant's.
        keys = await first.keyring.tenant("acme")
        sealed, commitment = seal(keys, BlobContext("acme", "r1", "snapshot"), b"text")
        stored = await first.js.publish("configtrail-content.acme.r1", sealed)
        ref = ContentRef(sequence=stored.seq, commitment=commitment)
        for newer in (DEVICE_KEYS, f"KV_{CREDENTIALS}", CHECKPOINTS):
            await first.js.delete_stream(newer)
        async with rig(nats_server.url) as second:
            assert (await second.js.stream_info(DEVICE_KEYS)).state.messages == 0
            text = await second.content.get("acme", "r1", "snapshot", ref)
            assert text == b"text"
    await nc.close()


async def test_doctor_tells_what_was_deleted_from_what_was_not_made_yet(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path)
    async with rig(nats_server.url) as before:
        await append_many(before.events, 1)
        for gone in (DEVICE_KEYS, f"KV_{CREDENTIALS}", f"KV_{LEASES}"):
            await before.js.delete_stream(gone)
        found = {one.subject: one for one in await look_at_streams(before.nc, settings)}
        for lost in (DEVICE_KEYS, f"bucket {CREDENTIALS}"):
            assert found[lost].verdict == "wrong"
            assert "put it back from a copy" in (found[lost].mend or "")
        # Whoever needs it makes it.
        assert found[f"bucket {LEASES}"].verdict == "notice"


async def test_doctor_looks_at_everything_that_is_kept_in_nats(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path)
    async with open_system(settings) as system:
        await append_many(system.events, 1)
        there = {info.config.name or "" for info in await system.js.streams_info()}
        found = await look_at_streams(system.nc, settings)
        assert {one.subject.replace("bucket ", "KV_") for one in found} == there
        assert {one.verdict for one in found} == {"fine"}
        # Those that whoever needs them makes, and their values are kept as long as they should.
        await system.js.delete_stream(f"KV_{KEY_USE}")
        for bucket, kept in ((RETENTION, KEPT_SECONDS), (UPLOADS, 3600)):
            await system.js.delete_stream(f"KV_{bucket}")
            wanted = KeyValueConfig(bucket=bucket, storage=StorageType.FILE, ttl=kept)
            await system.js.create_key_value(wanted)
        told = {one.subject: one for one in await look_at_streams(system.nc, settings)}
        assert told[f"bucket {KEY_USE}"].verdict == "notice"
        for bucket in (RETENTION, UPLOADS):
            assert told[f"bucket {bucket}"].verdict == "wrong"
            assert "max_age" in told[f"bucket {bucket}"].told
