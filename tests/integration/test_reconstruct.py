"""The story that the stream tells, also where one of its events can't be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from adapters.cli.reconstructing import reconstruct
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream import wire
from adapters.jetstream.streams import EVENTS
from adapters.tlog.reader import StreamReader, open_reader
from adapters.tlog.reconstruct import Told, story
from domain.envelope import StoredEvent
from domain.errors import StreamGap, StreamMissing
from domain.events import ContentRevealed
from projections.source import Unreadable
from tests.behaviour.event_store import failure
from tests.integration.test_recorder import export, record
from tests.integration.test_recorder import wire as wire_of
from tests.logs import Story
from tests.rig import MASTER, Rig, rig
from tests.serving import settings_for

STRANGE = {"ce-type": "configtrail.Unheard.v9", "ce-id": "x", "ce-sequence": "9" * 5000}


async def put_strange(one: Rig) -> None:
    await one.js.publish("configtrail.globex.r1.Unheard", b"{}", headers=STRANGE)


async def put_version(one: Rig, version: int) -> None:
    subject, headers, body = wire.encode_next(failure(version, "r1", "globex"), version)
    await one.js.publish(subject, body, headers=headers)


@pytest.fixture
async def reader(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[StreamReader]:
    """Over a history in which somebody's message stands among the events of a device of globex."""
    async with rig(nats_server.url) as one:
        await Story(one).tell(40)
        await put_version(one, 1)
        await put_strange(one)
        await put_version(one, 2)
        await Story(one, seed=2, devices=(("acme", "r2"),)).tell(20)
    settings = settings_for(nats_server, postgres_dsn, tmp_path, master_key=MASTER)
    async with open_reader(settings) as found:
        yield found


async def all_of(reader: StreamReader, tenant: str, device: str | None = None) -> list[Told]:
    async with aclosing(story(reader, tenant, device, None)) as told:
        return [one async for one in told]


def unread(told: list[Told]) -> list[Told]:
    return [one for one in told if isinstance(one.stored, Unreadable)]


async def test_an_event_that_cant_be_read_is_named_and_breaks_no_story(
    reader: StreamReader,
) -> None:
    acme, globex = await all_of(reader, "acme"), await all_of(reader, "globex")
    assert len(acme) + len(globex) == await reader.source.head()
    assert unread(acme) == []
    (strange,) = unread(globex)
    assert strange.words.startswith("this event can't be read: ")
    assert globex[-1].stored.position > strange.stored.position
    for tenant, device, told in (("acme", "edge-1", acme), ("globex", "r1", globex)):
        own = [one for one in told if one.stored.device_id == device]
        assert await all_of(reader, tenant, device) == own


async def test_an_event_that_cant_be_read_hides_no_missing_version_but_its_own(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, master_key=MASTER)
    async with rig(nats_server.url) as one, open_reader(settings) as reader:
        for version in (1, 3, 5):  # 2 and 4 may be those that nobody can read
            await put_version(one, version)
            if version < 5:
                await put_strange(one)
        assert len(unread(await all_of(reader, "globex", "r1"))) == 2
        await put_version(one, 7)
        with pytest.raises(StreamGap, match="expected position 6 and got 7"):
            await all_of(reader, "globex", "r1")


async def test_a_text_is_shown_and_recorded_where_an_event_of_the_device_cant_be_read(
    nats_server: EmbeddedNats,
    postgres_dsn: str,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, master_key=MASTER, tenant="acme")
    text = export("192.0.2.1")
    async with rig(nats_server.url) as one:
        assert len(await record(one, wire_of(text))) == 1
        await one.js.publish("configtrail.acme.r1.Unheard", b"{}", headers=STRANGE)
        assert await reconstruct(settings, device="r1", text=True, reason="case 7") == 0
    told = capfdbinary.readouterr()
    assert told.out == text.encode()
    assert b"1 of these events can't be read" in told.err
    async with open_reader(settings) as reader:
        last = (await all_of(reader, "acme", "r1"))[-1].stored
    assert isinstance(last, StoredEvent)
    assert isinstance(last.event, ContentRevealed)
    assert (last.version, last.event.reason) == (2, "case 7")


async def test_where_the_stream_is_gone_it_says_what_to_do(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_server, postgres_dsn, tmp_path, master_key=MASTER)
    async with rig(nats_server.url) as one:
        await one.js.delete_stream(EVENTS)
        with pytest.raises(StreamMissing, match="put it back from a copy"):
            await reconstruct(settings, device="r1")
