"""Streams are made right, watched, mended; and a full one refuses instead of losing."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime

import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.dead_letters import DEAD_LETTERS
from adapters.jetstream.streams import (
    EVENTS,
    INTAKE,
    ensure_stream,
    ensure_streams,
    events_stream_config,
    mend_stream,
    wanted_streams,
)
from adapters.roles.stream_watch import StreamWatch
from domain.envelope import Head
from domain.errors import StreamFull, StreamMisconfigured, StreamMismatch
from tests.behaviour.event_store import failure
from tests.rig import rig
from tests.support import eventually


async def test_absent_streams_are_made_and_right_ones_left_alone(js: JetStreamContext) -> None:
    for _ in range(2):
        await ensure_streams(js, replicas=1, intake_max_bytes=1 << 20)
    for wanted in wanted_streams(1, 1 << 20):
        assert wanted.name is not None
        assert (await js.stream_info(wanted.name)).config.subjects == wanted.subjects


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_age", 3_600),
        ("max_msgs", 1_000),
        ("max_msgs_per_subject", 5),
        ("discard", DiscardPolicy.OLD),
        ("duplicate_window", 1),
        ("allow_direct", False),
        ("allow_atomic", False),
        ("subjects", ["configtrail.acme.>"]),
    ],
)
async def test_an_update_that_breaks_a_rule_is_refused_and_mended(
    js: JetStreamContext, setting: str, value: object
) -> None:
    wanted = events_stream_config()
    live = (await js.add_stream(wanted)).config
    await js.update_stream(live.evolve(**{setting: value}))
    with pytest.raises(StreamMisconfigured, match=f"{setting}.*configtrail doctor --mend"):
        await ensure_stream(js, wanted)
    assert [one.setting for one in await mend_stream(js, wanted)] == [setting]
    assert await mend_stream(js, wanted) == []
    await ensure_stream(js, wanted)


@pytest.mark.parametrize("setting", ["deny_delete", "deny_purge"])
async def test_a_missing_deny_flag_is_refused_and_mended(
    js: JetStreamContext, setting: str
) -> None:
    wanted = events_stream_config()
    await js.add_stream(wanted.evolve(**{setting: False}))
    with pytest.raises(StreamMisconfigured, match=setting):
        await ensure_stream(js, wanted)
    await mend_stream(js, wanted)
    await ensure_stream(js, wanted)


async def test_a_stream_in_memory_is_refused_and_can_not_be_mended(js: JetStreamContext) -> None:
    wanted = events_stream_config()
    await js.add_stream(wanted.evolve(storage=StorageType.MEMORY))
    with pytest.raises(
        StreamMisconfigured, match=r"storage is 'memory' and must be 'file'.*restore the stream"
    ):
        await ensure_stream(js, wanted)
    live = (await js.stream_info(EVENTS)).config
    await js.update_stream(live.evolve(max_age=3600.0))
    assert [one.setting for one in await mend_stream(js, wanted)] == ["max_age"]


async def test_more_room_and_a_longer_window_are_nobodys_concern(js: JetStreamContext) -> None:
    wanted = events_stream_config()
    await js.add_stream(wanted.evolve(max_bytes=1 << 30, duplicate_window=600))
    await ensure_stream(js, wanted)


async def test_a_full_log_slows_the_intake_down_and_nothing_becomes_a_dead_letter(
    nats_server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(nats_server.url) as opened:
        live = (await opened.js.stream_info(EVENTS)).config
        await opened.js.update_stream(live.evolve(max_bytes=1))
        with pytest.raises(StreamFull, match="CONFIGTRAIL_EVENTS is full"):
            await opened.events.append(failure(1), Head())
        with pytest.raises(StreamFull):
            await opened.events.append_together([failure(1), failure(2)], Head())
        async with opened.recording(ack_wait=1) as _:
            for number in range(3):
                text = f"/system identity set name=r{number}\n"
                observation = {
                    "tenant_id": "acme",
                    "device_id": f"r{number}",
                    "config_text": text,
                    "sha256_hash": hashlib.sha256(text.encode()).hexdigest(),
                    "collected_at": datetime.now(UTC).isoformat(),
                    "normalization_version": 1,
                }
                await opened.js.publish(
                    "config.snapshot.create", json.dumps(observation).encode(), stream=INTAKE
                )

            await eventually(lambda: "CONFIGTRAIL_EVENTS is full" in caplog.text)
            assert await opened.events.head() == 0
            await opened.js.update_stream(live)

            async def recorded() -> bool:
                return await opened.events.head() == 3

            await eventually(recorded, within=40)
            assert (await opened.js.stream_info(DEAD_LETTERS)).state.messages == 0


async def test_what_changes_under_a_running_program_ends_it(js: JetStreamContext) -> None:
    wanted = events_stream_config()
    live = (await js.add_stream(wanted)).config
    watching = asyncio.create_task(StreamWatch(js, [wanted], every=0.01).run())
    await js.update_stream(live.evolve(max_age=3_600.0))
    with pytest.raises(StreamMisconfigured, match="max_age"):
        await watching
    await mend_stream(js, wanted)

    watch = StreamWatch(js, [wanted], every=0.01)
    watching = asyncio.create_task(watch.run())
    await eventually(lambda: watch.seen)
    await js.delete_stream(EVENTS)
    await js.add_stream(wanted)
    with pytest.raises(StreamMismatch, match="made anew"):
        await watching


def test_what_is_made_is_what_is_wanted() -> None:
    for config in wanted_streams(3, 1 << 20):
        assert isinstance(config, StreamConfig)
        assert config.num_replicas == 3
        assert config.discard == DiscardPolicy.NEW
        assert not config.max_age
