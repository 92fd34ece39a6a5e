"""The content store on a real server: round trips at all sizes, and refusal of what was touched."""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.crypto.keys import KeyRing, MasterKey
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.content_store import CONTENT, JetStreamContentStore, content_stream_config
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.parted import PartedStream
from domain.errors import (
    CommitmentMismatch,
    ContentCorrupt,
    ContentMissing,
    InvalidInput,
    Unavailable,
)
from domain.events import ContentRef
from tests.support import eventually

MIB = 1024 * 1024
CANARY = b"canary-Zk3vQ-8d1f0"
TEXT = b"/ip service\nset telnet disabled=yes\n# " + CANARY + b"\n"
SUBJECT = "configtrail-content.acme.edge"


async def prepared(nc: Client) -> KeyRing:
    js = nc.jetstream()
    await js.add_stream(content_stream_config())
    keys = JetStreamKeyStore(js)
    await keys.ensure()
    return KeyRing(MasterKey(secrets.token_bytes(32)), keys)


@pytest.fixture
async def keyring(nc: Client) -> KeyRing:
    return await prepared(nc)


@pytest.fixture
def store(js: JetStreamContext, keyring: KeyRing) -> JetStreamContentStore:
    return JetStreamContentStore(js, keyring)


@pytest.fixture
def small_parts(js: JetStreamContext, keyring: KeyRing) -> JetStreamContentStore:
    return JetStreamContentStore(js, keyring, part_bytes=1000)


async def stored(js: JetStreamContext, sequence: int) -> bytes:
    message = await js.get_msg(CONTENT, seq=sequence)
    assert message.data is not None
    return message.data


async def parts_of(js: JetStreamContext, sequence: int) -> list[int]:
    body = await stored(js, sequence)
    assert body[0] == 0xA1
    count = int.from_bytes(body[9:13], "big")
    return list(struct.unpack(f">{count}Q", body[13:]))


def listing(total: int, parts: list[int]) -> bytes:
    return struct.pack(f">BQI{len(parts)}Q", 0xA1, total, len(parts), *parts)


async def planted(js: JetStreamContext, ref: ContentRef, body: bytes) -> ContentRef:
    """The reference to another message with the commitment of `ref`."""
    ack = await js.publish(SUBJECT, body)
    return ContentRef(sequence=ack.seq, commitment=ref.commitment)


@pytest.mark.parametrize(
    "length", [0, 1, 999, 1000, 1001, 2997, 5000, 300_000, 600_000, 3 * MIB], ids=str
)
async def test_a_text_comes_back_whatever_its_size(
    store: JetStreamContentStore, small_parts: JetStreamContentStore, length: int
) -> None:
    # Noise is not packed, so that these lengths are also about the lengths stored.
    text = os.urandom(length)
    for writer in (store, small_parts) if length <= 5000 else (store,):
        ref = await writer.put("acme", "edge", "snapshot", text)
        assert await store.get("acme", "edge", "snapshot", ref) == text


async def test_64_mib_come_back_and_more_is_refused(store: JetStreamContentStore) -> None:
    # Half of it noise: enough for many parts, and a length beyond what one message may have.
    text = os.urandom(32 * MIB) + b"/ip\n" * (8 * MIB)
    ref = await store.put("acme", "edge", "snapshot", text)
    assert await store.get("acme", "edge", "snapshot", ref) == text
    with pytest.raises(InvalidInput, match=str(64 * MIB)):
        await store.put("acme", "edge", "snapshot", text + b"\n")


async def test_a_server_that_takes_only_small_messages_is_served(tmp_path: Path) -> None:
    server = EmbeddedNats(
        tmp_path / "small",
        encryption_key=None,
        max_payload=32 * 1024,
        user="tests",
        password="tests",
    )
    await server.start()
    try:
        nc = await connect(server.url, name="test")
        try:
            store = JetStreamContentStore(nc.jetstream(), await prepared(nc))
            text = os.urandom(200_000)
            ref = await store.put("acme", "edge", "snapshot", text)
            assert await store.get("acme", "edge", "snapshot", ref) == text
        finally:
            await nc.close()
    finally:
        await server.stop()


async def test_one_device_has_one_subject(
    store: JetStreamContentStore, small_parts: JetStreamContentStore, js: JetStreamContext
) -> None:
    for writer in (store, small_parts):
        await writer.put("acme", "röuter 1.rack", "snapshot", os.urandom(3000))
        await writer.put("acme", "röuter 1.rack", "diff", TEXT)
    info = await js.stream_info(CONTENT, subjects_filter=">")
    assert list(info.state.subjects or {}) == ["configtrail-content.acme.r=C3=B6uter=201=2Erack"]


async def test_what_is_not_there_is_missing(
    store: JetStreamContentStore, js: JetStreamContext
) -> None:
    ref = await store.put("acme", "edge", "snapshot", TEXT)
    for sequence in (0, ref.sequence + 1, 2**63):
        absent = ContentRef(sequence=sequence, commitment=ref.commitment)
        with pytest.raises(ContentMissing) as missing:
            await store.get("acme", "edge", "snapshot", absent)
        assert missing.value.sequence == sequence
    await js.delete_msg(CONTENT, ref.sequence)
    with pytest.raises(ContentMissing):
        await store.get("acme", "edge", "snapshot", ref)


async def test_a_flipped_byte_is_refused_wherever_it_is(
    store: JetStreamContentStore, js: JetStreamContext
) -> None:
    ref = await store.put("acme", "edge", "snapshot", TEXT)
    body = await stored(js, ref.sequence)
    for position in range(len(body)):
        touched = bytearray(body)
        touched[position] ^= 1
        with pytest.raises(ContentCorrupt):
            await store.get("acme", "edge", "snapshot", await planted(js, ref, bytes(touched)))


async def test_exchanged_texts_are_refused(store: JetStreamContentStore) -> None:
    first = await store.put("acme", "edge", "snapshot", TEXT)
    second = await store.put("acme", "edge", "snapshot", TEXT)
    for ours, theirs in ((first, second), (second, first)):
        exchanged = ContentRef(sequence=theirs.sequence, commitment=ours.commitment)
        with pytest.raises(ContentCorrupt):
            await store.get("acme", "edge", "snapshot", exchanged)


@pytest.mark.parametrize(
    ("tenant", "device", "kind"),
    [("acme", "core", "snapshot"), ("acme", "edge", "diff"), ("acme", "core", "diff")],
)
async def test_a_moved_text_is_refused(
    store: JetStreamContentStore, js: JetStreamContext, tenant: str, device: str, kind: str
) -> None:
    assert kind in ("snapshot", "diff")
    source = await store.put(tenant, device, "diff" if kind == "diff" else "snapshot", TEXT)
    with pytest.raises(ContentCorrupt):
        await store.get("acme", "edge", "snapshot", source)
    moved = await planted(js, source, await stored(js, source.sequence))
    with pytest.raises(ContentCorrupt):
        await store.get("acme", "edge", "snapshot", moved)


async def test_another_tenants_text_is_known_by_its_key(
    store: JetStreamContentStore, js: JetStreamContext
) -> None:
    theirs = await store.put("other", "edge", "snapshot", TEXT)
    moved = await planted(js, theirs, await stored(js, theirs.sequence))
    with pytest.raises(CommitmentMismatch):
        await store.get("acme", "edge", "snapshot", moved)
    with pytest.raises(ContentCorrupt, match="another device's subject"):
        await store.get("acme", "edge", "snapshot", theirs)


async def test_parts_that_were_touched_are_refused(
    small_parts: JetStreamContentStore, js: JetStreamContext
) -> None:
    ref = await small_parts.put("acme", "edge", "snapshot", os.urandom(3500))
    parts = await parts_of(js, ref.sequence)
    assert len(parts) == 4
    total = int.from_bytes((await stored(js, ref.sequence))[1:9], "big")
    second = await stored(js, parts[1])
    flipped = bytearray(second)
    flipped[500] ^= 1
    changed = {
        name: (await js.publish(SUBJECT, body)).seq
        for name, body in {
            "cut": second[:-1],
            "longer": second + b"x",
            "flipped": bytes(flipped),
            "empty": b"",
            "not a part": b"\x01" + second[1:],
        }.items()
    }
    lists = {name: [parts[0], seq, *parts[2:]] for name, seq in changed.items()}
    lists |= {
        "exchanged": [parts[1], parts[0], *parts[2:]],
        "doubled": [parts[0], parts[0], *parts[2:]],
        "left out": [parts[0], *parts[2:]],
        "one too many": [*parts, parts[0]],
        "not there": [parts[0], 10_000, *parts[2:]],
        "a list itself": [parts[0], ref.sequence, *parts[2:]],
        "none": [],
    }
    for name, listed in lists.items():
        touched = await planted(js, ref, listing(total, listed))
        with pytest.raises(ContentCorrupt):
            pytest.fail(f"{name}: {await small_parts.get('acme', 'edge', 'snapshot', touched)!r}")
    for body in (listing(total - 1, parts), listing(total + 1, parts), listing(2**40, parts)):
        with pytest.raises(ContentCorrupt):
            await small_parts.get("acme", "edge", "snapshot", await planted(js, ref, body))
    whole = listing(total, parts)
    for body in (whole[:-1], whole[:5], whole + b"\0", b"", b"\xff", b"\xb1"):
        with pytest.raises(ContentCorrupt):
            await small_parts.get("acme", "edge", "snapshot", await planted(js, ref, body))
    again = await planted(js, ref, whole)
    assert len(await small_parts.get("acme", "edge", "snapshot", again)) == 3500


async def test_a_list_of_more_than_may_be_is_not_followed(
    keyring: KeyRing, js: JetStreamContext
) -> None:
    stream = PartedStream(js, CONTENT, limit=5000, part_bytes=1000)
    body = b"\x01" + os.urandom(5000)
    within, _ = await stream.write(SUBJECT, body[:5000])
    beyond, _ = await stream.write(SUBJECT, body)
    assert (await stream.read(within.seq)).body == body[:5000]
    with pytest.raises(ContentCorrupt, match="limit"):
        await stream.read(beyond.seq)


async def test_a_missing_part_is_refused(
    small_parts: JetStreamContentStore, js: JetStreamContext
) -> None:
    ref = await small_parts.put("acme", "edge", "snapshot", os.urandom(3500))
    parts = await parts_of(js, ref.sequence)
    await js.delete_msg(CONTENT, parts[2])
    with pytest.raises(ContentCorrupt, match="missing"):
        await small_parts.get("acme", "edge", "snapshot", ref)


async def test_the_text_is_in_no_file_of_the_server(tmp_path: Path) -> None:
    """Also of a server that does not encrypt: what it gets is sealed already."""
    folder = tmp_path / "plain"
    server = EmbeddedNats(
        folder,
        encryption_key=None,
        user="tests",
        password="tests",
    )
    await server.start()
    try:
        nc = await connect(server.url, name="test")
        try:
            keyring = await prepared(nc)
            js = nc.jetstream()
            for part_bytes in (500, 100_000):
                store = JetStreamContentStore(js, keyring, part_bytes=part_bytes)
                ref = await store.put("acme", "edge", "snapshot", CANARY + os.urandom(4000))
                assert CANARY in await store.get("acme", "edge", "snapshot", ref)
            await js.publish(SUBJECT, b"marker-in-the-clear")
            keys = await keyring.tenant("acme")
        finally:
            await nc.close()
    finally:
        await server.stop()
    content = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    # The marker shows that what is searched for would be found.
    assert b"marker-in-the-clear" in content
    for secret in (CANARY, keys.content_key, keys.fingerprint_key):
        assert secret not in content


async def test_a_byte_flipped_on_the_disk_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    server = EmbeddedNats(
        folder,
        encryption_key=None,
        user="tests",
        password="tests",
    )
    await server.start()
    nc = await connect(server.url, name="test")
    try:
        store = JetStreamContentStore(nc.jetstream(), await prepared(nc))
        ref = await store.put("acme", "edge", "snapshot", os.urandom(4000))
        body = await stored(nc.jetstream(), ref.sequence)
        await server.stop()
        (block,) = [
            file
            for file in folder.rglob("*.blk")
            if file.is_file() and body[100:200] in file.read_bytes()
        ]
        content = bytearray(block.read_bytes())
        content[content.index(body[100:200])] ^= 1
        block.write_bytes(content)
        await server.start()

        async def refused() -> str | None:
            try:
                await store.get("acme", "edge", "snapshot", ref)
            except Unavailable:
                return None
            except (ContentMissing, ContentCorrupt) as error:
                return type(error).__name__
            return "read"

        assert await eventually(refused) in ("ContentMissing", "ContentCorrupt")
    finally:
        await nc.close()
        await server.stop()


async def test_an_outage_is_told_as_such_and_passes(
    nats_server: EmbeddedNats, nc: Client, keyring: KeyRing
) -> None:
    store = JetStreamContentStore(nc.jetstream(timeout=1), keyring)
    ref = await store.put("acme", "edge", "snapshot", TEXT)
    await nats_server.stop()
    with pytest.raises(Unavailable):
        await store.get("acme", "edge", "snapshot", ref)
    await nats_server.start()

    async def text() -> bytes | None:
        try:
            return await store.get("acme", "edge", "snapshot", ref)
        except Unavailable:
            return None

    assert await eventually(text) == TEXT


async def test_a_full_stream_refuses_and_loses_nothing(
    store: JetStreamContentStore, js: JetStreamContext
) -> None:
    ref = await store.put("acme", "edge", "snapshot", TEXT)
    await js.update_stream(content_stream_config().evolve(max_bytes=2000))
    with pytest.raises(Unavailable, match="full"):
        await store.put("acme", "edge", "snapshot", os.urandom(4000))
    assert await store.get("acme", "edge", "snapshot", ref) == TEXT
    await js.update_stream(content_stream_config())
    await store.put("acme", "edge", "snapshot", os.urandom(4000))
