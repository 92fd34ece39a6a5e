"""The recorder on a real nats-server: one observation, one fact; the refused are kept."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.intake import CREATE, FAILED, PART, sent_as
from adapters.jetstream.streams import INTAKE
from domain.errors import InvalidInput
from domain.events import CollectionFailed, DuplicateSkipped, SnapshotCreated
from tests.protocol import send
from tests.rig import Rig

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def export(address: str, *, at: str = "2026-03-01 12:00:00", ending: str = "\n") -> str:
    lines = [f"# {at} by RouterOS 7.14", "# software id = ABCD-1234", "/ip address"]
    lines.append(f"add address={address}/24 interface=ether1")
    return ending.join([*lines, ""])


def wire(text: str, moment: datetime = NOON, **changes: Any) -> bytes:
    message: dict[str, Any] = {
        "device_id": "r1",
        "tenant_id": "acme",
        "sha256_hash": hashlib.sha256(text.encode()).hexdigest(),
        "config_text": text,
        "collected_at": moment.isoformat(),
        "normalization_version": 1,
    }
    message.update(changes)
    return json.dumps({name: value for name, value in message.items() if value is not ...}).encode()


async def record(connected: Rig, *bodies: bytes, subject: str = CREATE) -> list[Any]:
    """Send messages, wait until they are worked off, and return the device's events."""
    async with connected.recording():
        for body in bodies:
            await connected.intake.publish_raw(subject, body)
        await connected.intake_empty()
    return [stored.event for stored in await connected.history("acme", "r1")]


async def test_the_first_reading_is_a_snapshot_whose_text_comes_back(connected: Rig) -> None:
    text = export("192.0.2.1", ending="\r\n")
    [event] = await record(connected, wire(text))
    assert isinstance(event, SnapshotCreated)
    assert event.predecessor is None
    assert (event.platform, event.os_version, event.completeness) == (
        "routeros",
        "7.14",
        "complete",
    )
    assert event.collected_at == NOON
    kept = await connected.content.get("acme", "r1", "snapshot", event.content)
    assert kept.decode() == text


async def test_what_is_no_change_of_configuration_is_a_duplicate(connected: Rig) -> None:
    events = await record(
        connected,
        wire(export("192.0.2.1")),
        wire(export("192.0.2.1", at="2026-03-01 13:00:00"), NOON + timedelta(hours=1)),
        wire(export("192.0.2.1", ending="\r\n"), NOON + timedelta(hours=2)),
    )
    assert [type(event) for event in events] == [
        SnapshotCreated,
        DuplicateSkipped,
        DuplicateSkipped,
    ]
    assert {event.snapshot_id for event in events} == {events[0].snapshot_id}


async def test_a_redelivery_is_nothing_new_however_late(connected: Rig) -> None:
    bodies = [wire(export(f"192.0.2.{n}"), NOON + timedelta(hours=n)) for n in range(1, 6)]
    assert len(await record(connected, *bodies)) == 5
    assert len(await record(connected, *bodies, *reversed(bodies))) == 5


async def test_a_late_one_finds_its_true_neighbours(connected: Rig) -> None:
    first, second, third = (export(f"192.0.2.{n}") for n in (1, 2, 3))
    events = await record(
        connected,
        wire(first, NOON),
        wire(third, NOON + timedelta(hours=2)),
        wire(second, NOON + timedelta(hours=1)),
    )
    late = events[-1]
    assert isinstance(late, SnapshotCreated)
    assert late.predecessor is not None
    assert late.successor is not None
    assert late.predecessor.snapshot_id == events[0].snapshot_id
    assert late.successor.snapshot_id == events[1].snapshot_id


async def test_going_back_to_an_earlier_configuration_is_a_change(connected: Rig) -> None:
    events = await record(
        connected,
        *(
            wire(export(f"192.0.2.{n}"), NOON + timedelta(hours=hour))
            for hour, n in enumerate((1, 2, 1))
        ),
    )
    assert [type(event) for event in events] == [SnapshotCreated] * 3
    assert events[0].fingerprint == events[2].fingerprint
    assert events[0].snapshot_id != events[2].snapshot_id


async def test_a_failed_collection_is_a_fact_once(connected: Rig) -> None:
    failure = {
        "device_id": "r1",
        "tenant_id": "acme",
        "kind": "timeout",
        "message": "no answer within 30 s",
        "attempted_at": NOON.isoformat(),
        "attempt": 2,
    }
    later = failure | {"attempted_at": (NOON + timedelta(hours=1)).isoformat()}
    bodies = [json.dumps(one).encode() for one in (failure, failure, later, failure)]
    events = await record(connected, *bodies, subject=FAILED)
    assert [type(event) for event in events] == [CollectionFailed] * 2
    assert (events[0].kind, events[0].attempt) == ("timeout", 2)


BAD = {
    "broken JSON": (b'{"device_id": "r1", ', "JSON"),
    "not an object": (b"[1, 2]", "object"),
    "missing field": (wire(export("192.0.2.1"), tenant_id=...), "tenant_id"),
    "wrong type": (wire(export("192.0.2.1"), device_id=7), "device_id"),
    "wrong hash": (wire(export("192.0.2.1"), sha256_hash="0" * 64), "sha256_hash"),
    "tenant characters": (wire(export("192.0.2.1"), tenant_id="a b"), "tenant_id"),
    "empty text": (wire(" \n"), "config_text"),
    "binary text": (wire("\x00\x01\x02"), "config_text"),
    "web page": (wire("<html><body>Log in</body></html>\n"), "not a web page"),
    "clock in 1970": (wire(export("192.0.2.1"), datetime(1970, 1, 2, tzinfo=UTC)), "collected_at"),
    "clock in 2100": (wire(export("192.0.2.1"), datetime(2100, 1, 1, tzinfo=UTC)), "collected_at"),
    "no zone": (wire(export("192.0.2.1"), collected_at="2026-03-01T12:00:00"), "collected_at"),
    "unknown upload": (
        wire("x", config_text=..., config_parts={"upload": "nothere", "count": 2}),
        "config_parts",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_becomes_a_dead_letter_that_says_why(connected: Rig, case: str) -> None:
    body, names = BAD[case]
    good = wire(export("192.0.2.9"))
    events = await record(connected, body, good)
    assert len(events) == 1, "the good one after it is recorded all the same"
    [letter] = await connected.dead_letters.list(limit=10)
    assert names in f"{letter.field}: {letter.rule}"
    assert await connected.dead_letters.original(letter.sequence) == body


async def test_an_unknown_subject_under_the_intake_is_a_dead_letter(connected: Rig) -> None:
    await record(connected, wire(export("192.0.2.1")), subject="config.snapshot.kreate")
    [letter] = await connected.dead_letters.list(limit=10)
    assert letter.field == "subject"


@pytest.mark.parametrize("blank", [b"\x0b", b"\x0c", b"\r"])
async def test_a_subject_with_blanks_of_a_text_is_a_dead_letter_and_holds_up_nothing(
    connected: Rig, nats_server: EmbeddedNats, blank: bytes
) -> None:
    subject = b"config.snapshot.%bx" % blank
    await send(nats_server.url, b"PUB %b r%b 2\r\n{}\r\n" % (subject, blank))
    assert len(await record(connected, wire(export("192.0.2.1")))) == 1
    [letter] = await connected.dead_letters.list(limit=10)
    assert letter.subject == subject.decode()


async def test_what_a_tenants_account_sends_is_recorded_as_that_tenants(connected: Rig) -> None:
    [event] = await record(connected, wire(export("192.0.2.1")), subject=f"{CREATE}.acme")
    assert isinstance(event, SnapshotCreated)
    failure = {"tenant_id": "acme", "device_id": "r1", "kind": "timeout", "message": "no answer"}
    body = json.dumps({**failure, "attempted_at": NOON.isoformat()}).encode()
    [_, failed] = await record(connected, body, subject=f"{FAILED}.acme")
    assert isinstance(failed, CollectionFailed)


async def test_a_tenants_account_can_not_send_for_another(connected: Rig) -> None:
    forged = wire(export("192.0.2.1"), tenant_id="acme")
    assert await record(connected, forged, subject=f"{CREATE}.mallory=2Einc") == []
    [letter] = await connected.dead_letters.list(10)
    assert (letter.field, letter.tenant_id) == ("tenant_id", "mallory.inc")
    assert "mallory.inc" in letter.rule


@pytest.mark.parametrize("tail", ["", "acme.more", "=2e", "-acme"])
def test_a_sender_that_is_no_tenant_is_refused(tail: str) -> None:
    with pytest.raises(InvalidInput, match="must name a tenant"):
        sent_as(f"{CREATE}.{tail}")


async def test_64_mib_go_through_in_parts_and_65_are_refused_at_the_sender(connected: Rig) -> None:
    line = 'add address=192.0.2.1/24 comment="{:010d}" interface=ether1\n'
    rows = "".join(line.format(number) for number in range(1_000))
    text = ("/ip address\n" + rows * (64 * 1024 * 1024 // len(rows)))[: 64 * 1024 * 1024]
    text = text[: text.rindex("\n") + 1]
    async with connected.recording():
        await connected.intake.publish("acme", "r1", text, NOON)
        await connected.intake_empty()
    [stored] = await connected.history("acme", "r1")
    assert isinstance(stored.event, SnapshotCreated)
    assert (
        await connected.content.get("acme", "r1", "snapshot", stored.event.content) == text.encode()
    )
    state = (await connected.js.stream_info("CONFIGTRAIL_INTAKE")).state
    assert state.messages == 0, "the parts are removed once the fact is recorded"
    with pytest.raises(Exception, match="config_text: must be at most"):
        await connected.intake.publish("acme", "r1", text + "#" * (2 * 1024 * 1024), NOON)


async def in_parts(
    connected: Rig, text: str, upload: str, *, sha256_hash: str | None = None
) -> bytes:
    """Send a text's parts; the message that names them."""
    packed = zstandard.compress(text.encode())
    half = len(packed) // 2 + 1
    for number, piece in enumerate((packed[:half], packed[half:])):
        await connected.intake.publish_raw(
            f"{PART}.{upload}.{number}", piece, {"Nats-TTL": "3600s"}
        )
    fields = json.loads(wire(text))
    del fields["config_text"]
    if sha256_hash is not None:
        fields["sha256_hash"] = sha256_hash
    return json.dumps({**fields, "config_parts": {"upload": upload, "count": 2}}).encode()


async def test_a_message_with_parts_that_is_delivered_again_is_nothing_new(connected: Rig) -> None:
    body = await in_parts(connected, export("192.0.2.1"), "first")
    [event] = await record(connected, body, body, body)
    assert isinstance(event, SnapshotCreated)
    assert await connected.dead_letters.list(10) == []
    # The same observation under a new upload leaves no parts behind either.
    await record(connected, await in_parts(connected, export("192.0.2.1"), "second"))
    assert (await connected.js.stream_info(INTAKE)).state.messages == 0
    assert await connected.dead_letters.list(10) == []


async def test_the_letter_of_a_message_with_parts_keeps_them(connected: Rig) -> None:
    text = export("192.0.2.1")
    body = await in_parts(connected, text, "upload", sha256_hash="0" * 64)
    assert await record(connected, body) == []
    [letter] = await connected.dead_letters.list(10)
    assert (letter.field, letter.device_id) == ("sha256_hash", "r1")
    assert letter.size_bytes > len(body), "the parts are counted"
    assert (await connected.js.stream_info(INTAKE)).state.messages == 0, (
        "they wait for nobody there"
    )
    async with connected.recording():
        await connected.dead_letters.retry(letter.sequence)
        await connected.intake_empty()
    [again] = await connected.dead_letters.list(10)
    assert again.sequence > letter.sequence
    assert again.field == "sha256_hash", "its text came along"


async def test_a_refused_message_still_says_whose_it_was(connected: Rig) -> None:
    await record(connected, wire(export("192.0.2.1"), collected_at="1970-01-02T00:00:00Z"))
    [letter] = await connected.dead_letters.list(10)
    assert (letter.field, letter.tenant_id, letter.device_id) == ("collected_at", "acme", "r1")


async def test_65_mib_in_parts_are_refused_and_kept(connected: Rig) -> None:
    line = "add address=192.0.2.1/24 interface=ether1\n"
    text = "/ip address\n" + line * (65 * 1024 * 1024 // len(line))
    assert await record(connected, await in_parts(connected, text, "large")) == []
    [letter] = await connected.dead_letters.list(10)
    assert letter.field == "config_text"
    assert "at most" in letter.rule
    assert (await connected.js.stream_info(INTAKE)).state.messages == 0
