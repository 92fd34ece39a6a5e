"""Dead letters on a real server: kept whole and sealed, found once, sent again on request."""

from __future__ import annotations

import asyncio
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig

from adapters.crypto.keys import KeyRing, MasterKey
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.connection import connect
from adapters.jetstream.dead_letters import DEAD_LETTERS, DeadLetters, dead_letters_stream_config
from adapters.jetstream.key_store import JetStreamKeyStore
from domain.errors import ContentCorrupt, InvalidInput, NotFound, Unavailable

INTAKE = "INTAKE"
SUBJECT = "config.snapshot.create"
CANARY = b"canary-Zk3vQ-8d1f0"
BODY = b'{"config_text": "' + CANARY + b'"'
RULE = "must be JSON: a closing bracket is missing (100% sure), ünïcode\nand a line"


async def prepared(nc: Client) -> KeyRing:
    js = nc.jetstream()
    await js.add_stream(dead_letters_stream_config())
    await js.add_stream(
        StreamConfig(
            name=INTAKE,
            subjects=["config.snapshot.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.NEW,
        )
    )
    keys = JetStreamKeyStore(js)
    await keys.ensure()
    return KeyRing(MasterKey(secrets.token_bytes(32)), keys)


@pytest.fixture
async def keyring(nc: Client) -> KeyRing:
    return await prepared(nc)


@pytest.fixture
def letters(js: JetStreamContext, keyring: KeyRing) -> DeadLetters:
    return DeadLetters(js, keyring)


@pytest.fixture
def small_parts(js: JetStreamContext, keyring: KeyRing) -> DeadLetters:
    return DeadLetters(js, keyring, part_bytes=1000)


async def put(
    letters: DeadLetters,
    body: bytes = BODY,
    *,
    origin: str = "intake",
    subject: str = SUBJECT,
    headers: dict[str, str] | None = None,
    dedupe_id: str | None = None,
) -> int:
    return await letters.put(
        origin,
        subject,
        body,
        field="message",
        rule=RULE,
        tenant_id="acme",
        device_id="röuter 1",
        headers=headers,
        dedupe_id=dedupe_id,
    )


async def test_a_letter_tells_its_reason_and_gives_the_message_back(letters: DeadLetters) -> None:
    sequence = await put(letters, dedupe_id="intake.7")
    letter = await letters.get(sequence)
    assert await letters.list(10) == [letter]
    assert (letter.sequence, letter.origin, letter.subject) == (sequence, "intake", SUBJECT)
    assert (letter.field, letter.rule) == ("message", RULE)
    assert (letter.tenant_id, letter.device_id) == ("acme", "röuter 1")
    assert (letter.letter_id, letter.size_bytes) == ("intake.7", len(BODY))
    assert abs(datetime.now(UTC) - letter.received_at) < timedelta(minutes=1)
    assert await letters.original(sequence) == BODY


async def test_what_is_not_known_is_none(letters: DeadLetters) -> None:
    sequence = await letters.put(
        "intake",
        "config.snapshot.other",
        b"",
        field="subject",
        rule="",
        tenant_id=None,
        device_id=None,
        headers=None,
        dedupe_id=None,
    )
    letter = await letters.get(sequence)
    assert (letter.tenant_id, letter.device_id, letter.letter_id) == (None, None, None)
    assert letter.rule == ""
    assert await letters.original(sequence) == b""


async def test_nothing_of_the_message_is_in_the_clear(
    letters: DeadLetters, js: JetStreamContext
) -> None:
    sequence = await put(letters, headers={"X-Note": CANARY.decode()})
    raw = await js.get_msg(DEAD_LETTERS, seq=sequence)
    assert CANARY not in (raw.data or b"")
    assert CANARY.decode() not in str(raw.headers)
    assert CANARY.decode() not in repr(await letters.list(10))


@pytest.mark.parametrize("length", [5000, 3 * 1024 * 1024], ids=str)
async def test_a_large_message_is_kept_in_parts_that_are_not_listed(
    letters: DeadLetters, small_parts: DeadLetters, length: int
) -> None:
    body = os.urandom(length)
    writer = small_parts if length == 5000 else letters
    sequence = await put(writer, body)
    assert sequence > 5
    assert await writer.count() == 1
    assert [letter.sequence for letter in await writer.list(10)] == [sequence]
    assert await writer.original(sequence) == body


@pytest.mark.parametrize("length", [20, 5000], ids=str)
async def test_a_redelivered_message_has_one_letter(
    small_parts: DeadLetters, js: JetStreamContext, length: int
) -> None:
    body = os.urandom(length)
    first = await put(small_parts, body, dedupe_id="intake.7")
    messages = (await js.stream_info(DEAD_LETTERS)).state.messages
    assert await put(small_parts, body, dedupe_id="intake.7") == first
    assert (await js.stream_info(DEAD_LETTERS)).state.messages == messages
    assert await put(small_parts, body, dedupe_id="intake.8") != first
    # The same id for other bytes: the intake was made anew, and counts from 1 again.
    assert await put(small_parts, body + b"!", dedupe_id="intake.7") != first
    assert await small_parts.count() == 3


async def test_letters_are_listed_newest_first_in_pages(small_parts: DeadLetters) -> None:
    sequences = []
    for number in range(23):
        size = 5000 if number % 5 == 0 else 10
        origin = "differ" if number % 3 == 0 else "intake"
        sequences.append(await put(small_parts, os.urandom(size), origin=origin))
    newest = sequences[::-1]
    assert [letter.sequence for letter in await small_parts.list(100)] == newest
    pages: list[int] = []
    before: int | None = None
    for _ in range(6):
        pages += [letter.sequence for letter in await small_parts.list(4, before)]
        before = pages[-1]
    assert await small_parts.list(4, before) == []
    assert pages == newest
    assert await small_parts.count() == 23
    assert {letter.origin for letter in await small_parts.list(4)} == {"differ", "intake"}


async def test_an_old_letter_is_found_behind_many_parts(small_parts: DeadLetters) -> None:
    old = await put(small_parts)
    new = await put(small_parts, os.urandom(60_000))
    assert new - old > 60
    assert [letter.sequence for letter in await small_parts.list(2)] == [new, old]


async def test_nothing_is_listed_when_there_is_nothing(
    letters: DeadLetters, js: JetStreamContext
) -> None:
    assert await letters.list(10) == []
    assert await letters.count() == 0
    sequence = await put(letters)
    assert await letters.list(10, before=sequence) == []
    assert (await js.stream_info(DEAD_LETTERS)).state.consumer_count == 0


@pytest.mark.parametrize("length", [20, 5000], ids=str)
async def test_a_retried_message_is_sent_as_it_came_and_its_letter_is_gone(
    small_parts: DeadLetters, js: JetStreamContext, length: int
) -> None:
    body = os.urandom(length)
    headers = {"X-Poller": "north", "Nats-Msg-Id": "theirs", "Nats-Expected-Stream": "OTHER"}
    kept = await put(small_parts, b"another")
    sequence = await put(small_parts, body, headers=headers)
    await small_parts.retry(sequence)
    sent = await js.get_msg(INTAKE, seq=1)
    assert (sent.subject, sent.data) == (SUBJECT, body)
    assert sent.headers is not None
    assert sent.headers["X-Poller"] == "north"
    assert "Nats-Expected-Stream" not in sent.headers
    assert sent.headers["Nats-Msg-Id"] != "theirs"
    assert [letter.sequence for letter in await small_parts.list(10)] == [kept]
    assert (await js.stream_info(DEAD_LETTERS)).state.messages == 1
    for gone in (small_parts.get, small_parts.original, small_parts.retry):
        with pytest.raises(NotFound, match=str(sequence)):
            await gone(sequence)


async def test_two_retries_at_once_send_one_message(
    letters: DeadLetters, js: JetStreamContext
) -> None:
    sequence = await put(letters)
    ends = await asyncio.gather(
        *(letters.retry(sequence) for _ in range(4)), return_exceptions=True
    )
    assert {type(end) for end in ends} <= {int, NotFound}
    assert 1 in ends, "the one message's sequence"
    assert (await js.stream_info(INTAKE)).state.messages == 1
    assert await letters.count() == 0


async def test_a_retry_that_could_not_be_sent_keeps_its_letter(
    letters: DeadLetters, js: JetStreamContext
) -> None:
    sequence = await put(letters)
    info = await js.stream_info(INTAKE)
    await js.update_stream(info.config.evolve(max_bytes=1))
    with pytest.raises(Unavailable, match="the letter stays"):
        await letters.retry(sequence)
    await js.delete_stream(INTAKE)
    with pytest.raises(Unavailable):
        await letters.retry(sequence)
    assert await letters.original(sequence) == BODY


@pytest.mark.parametrize("blank", ["\r", "\t"])
async def test_a_message_that_the_client_cannot_send_keeps_its_letter_and_says_so(
    letters: DeadLetters, js: JetStreamContext, blank: str
) -> None:
    sequence = await put(letters, subject=f"config.snapshot.cre{blank}ate")
    with pytest.raises(InvalidInput, match=r"a subject with a blank.* the letter stays"):
        await letters.retry(sequence)
    assert (await js.stream_info(INTAKE)).state.messages == 0
    assert await letters.original(sequence) == BODY


async def test_a_subject_with_what_is_a_blank_to_texts_alone_is_sent_to(
    letters: DeadLetters, js: JetStreamContext
) -> None:
    sequence = await put(letters, subject="config.snapshot.cre\x0b\x0cate")
    await letters.retry(sequence)
    assert (await js.stream_info(INTAKE)).state.messages == 1
    assert await letters.list(10) == []


async def test_a_recorded_event_is_never_sent_again(
    letters: DeadLetters, js: JetStreamContext
) -> None:
    await js.add_stream(StreamConfig(name="EVENTS", subjects=["configtrail.>"]))
    sequence = await put(letters, origin="differ", subject="configtrail.acme.r1.SnapshotCreated")
    with pytest.raises(InvalidInput, match="only messages of the intake"):
        await letters.retry(sequence)
    assert (await js.stream_info("EVENTS")).state.messages == 0
    assert await letters.original(sequence) == BODY


async def test_a_letter_whose_body_was_touched_or_moved_is_refused(
    letters: DeadLetters, js: JetStreamContext
) -> None:
    sequence = await put(letters)
    raw = await js.get_msg(DEAD_LETTERS, seq=sequence)
    assert raw.data is not None
    touched = bytearray(raw.data)
    touched[-1] ^= 1
    for subject, body in (
        ("configtrail-deadletters.intake", bytes(touched)),
        ("configtrail-deadletters.differ", raw.data),
    ):
        ack = await js.publish(subject, body, headers=raw.headers)
        for use in (letters.original, letters.retry):
            with pytest.raises(ContentCorrupt):
                await use(ack.seq)
    assert (await js.stream_info(INTAKE)).state.messages == 0


async def test_the_message_is_in_no_file_of_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    server = EmbeddedNats(folder, encryption_key=None, user="tests", password="tests")
    await server.start()
    try:
        nc = await connect(server.url, name="test")
        try:
            letters = DeadLetters(nc.jetstream(), await prepared(nc))
            await put(letters, headers={"X-Note": CANARY.decode()})
        finally:
            await nc.close()
    finally:
        await server.stop()
    content = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert SUBJECT.encode() in content
    assert CANARY not in content
