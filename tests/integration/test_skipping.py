"""Skipping parked events beside others who write: it ends, and says why it could not be done."""

from __future__ import annotations

import dataclasses
import random
import re
import string
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.composition import System, open_system
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.source import JetStreamSource
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.roles.supervisor import running
from adapters.skipping import TRIES, parked_at, skip
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.verify import Options
from adapters.tlog.verify import verify as verify_log
from benchmarks.history import history
from domain.decisions import event_skipped, observed_event_id
from domain.envelope import Head, StoredEvent
from domain.errors import NotFound, PoisonEvent, StreamMismatch, Unavailable
from domain.events import DuplicateSkipped, SnapshotCreated, encode_event
from domain.ids import TENANT_BRANCH
from projections import AUDIT, BACKUPS, parking, rebuilds
from projections.belonging import strays
from projections.builder import ProjectionBuilder
from projections.checkpoints import wait_projected
from projections.engine import ProjectionWorker
from projections.source import Delivered
from projections.verify import verify
from projections.writer import ProjectionWriter
from tests.behaviour.event_store import append_many, failure
from tests.generators import STREAM
from tests.listed import Listed, brought_in
from tests.protocol import send, stored
from tests.publishing import publish
from tests.rebuilding import Allergic
from tests.serving import NOON, TEXTS, Api, settings_for
from tests.support import eventually

PARK = """
    WITH gone AS (
        DELETE FROM configtrail.audit WHERE device_id = 'r1'
        RETURNING position, tenant_id, device_id, event_id
    )
    INSERT INTO configtrail.parked (projection, position, tenant_id, device_id, event_id, type_name)
    SELECT 'audit', position, tenant_id, device_id, event_id, 'SnapshotCreated' FROM gone
"""


@pytest.fixture
async def parked(api: Api) -> System:
    """All events of r1 wait, as when a retry was cut off after the one that was in their way."""
    for text in TEXTS[:2]:
        await api.system.intake.publish("acme", "r1", text, NOON)
        await api.settled()
    await api.system.pool.execute(PARK)
    return api.system


class Late(JetStreamSource):
    """Whoever asks it where a branch ends is always told too late."""

    asked = 0

    async def branch_head(self, tenant_id: str, device_id: str) -> Head:
        self.asked += 1
        return Head()


async def test_a_skip_before_which_others_always_write_is_given_up(parked: System) -> None:
    first, *_ = await waiting(parked)
    late = Late(parked.nc, parked.js)
    beside = dataclasses.replace(parked, source=late)
    with pytest.raises(Unavailable, match="others always wrote first; try again"):
        await skip(beside, AUDIT, first, actor="user:a", reason=None)
    assert late.asked == TRIES
    assert (await skip(parked, AUDIT, first, actor="user:a", reason=None)).left == 0


async def test_what_a_retry_left_over_that_was_cut_off_can_be_retried(parked: System) -> None:
    first, *others = await waiting(parked)
    assert (await parked_at(parked, AUDIT, first)).error is None
    for position in (*others, first - 1):
        with pytest.raises(NotFound):
            await parked_at(parked, AUDIT, position)
    # With it the others come in.
    assert (await skip(parked, AUDIT, first, actor="user:a", reason=None)).left == 0
    assert await waiting(parked) == []


# Nothing that compresses: an index would hold it then.
LONG = "".join(random.Random(1).choices(string.ascii_letters, k=3_000))
GOOD = {
    "ce-id": "one",
    "ce-type": "configtrail.CollectionFailed.v1",
    "ce-time": "2026-01-01T00:00:00Z",
    "ce-sequence": "1",
}
BLANK = re.compile(r"\s")
FAILED = encode_event(failure(1).event)
# Subject, headers and body of what none of the read models can take in, or not all of them.
ODD: tuple[tuple[str, dict[str, str], bytes], ...] = (
    ("configtrail.acme.r1.CollectionFailed", {}, b""),
    ("configtrail.acme.r1.CollectionFailed", {}, b"{}"),
    ("configtrail.acme.r1.EventSkipped", {}, b"{}"),
    ("configtrail.acme.r2.CollectionFailed", {**GOOD, "ce-sequence": "x"}, FAILED),
    ("configtrail.acme.r3.CollectionFailed", {**GOOD, "ce-sequence": "9" * 18}, b"{}"),
    ("configtrail.acme.r4.CollectionFailed", {**GOOD, "ce-sequence": "9" * 40}, FAILED),
    ("configtrail.acme.r5.CollectionFailed", {**GOOD, "ce-sequence": "-7"}, b"{}"),
    ("configtrail.acme.r6.CollectionFailed", {**GOOD, "ce-sequence": "٣"}, b"{}"),
    ("configtrail.acme.r7.CollectionFailed", {**GOOD, "ce-id": "n\x00l é " * 9_000}, b"{}"),
    ("configtrail.acme.r8.Odd", {**GOOD, "ce-type": "configtrail.Odd.v1" + LONG}, b"{}"),
    ("configtrail.acme.r=009.CollectionFailed", GOOD, FAILED),
    ("configtrail.acme.r=009.CollectionFailed", {}, b""),
    ("configtrail.a=00b.r1.CollectionFailed", GOOD, FAILED),
    ("configtrail.a=00b.r1.CollectionFailed", {}, b""),
    (f"configtrail.acme.{LONG}.CollectionFailed", GOOD, FAILED),
    (f"configtrail.acme.{LONG}.CollectionFailed", {}, b""),
    (f"configtrail.{LONG}.r1.CollectionFailed", GOOD, FAILED),
    (
        "configtrail.acme.r10.CollectionFailed",
        GOOD,
        b'{"type":"CollectionFailed","zzz":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ),
    ("configtrail.acme._tenant.CollectionFailed", {}, b""),
    ("configtrail.-._tenant.CollectionFailed", {}, b""),
    ("configtrail.-.r1.CollectionFailed", {}, b""),
    ("configtrail.acme.r=zz.CollectionFailed", {}, b""),
    ("configtrail.é.\x01.CollectionFailed", {}, b""),
    # Blanks of every text, and none of the server's: its client would not send to these.
    ("configtrail.acme.r\x0b11.CollectionFailed", GOOD, FAILED),
    ("configtrail.acme.r\x0c12.CollectionFailed", {}, b"{}"),
    ("configtrail.a\x0bb.r\r13.CollectionFailed", GOOD, FAILED),
    ("configtrail.odd", {}, b""),
    (f"configtrail.{LONG}", {}, b""),
    ("configtrail.a.b.c.d.e", GOOD, FAILED),
)


async def store(system: System, subject: str, headers: dict[str, str], body: bytes) -> None:
    """Put a message into the stream of events, by hand where the client refuses to."""
    if not BLANK.search(subject):
        await system.js.publish(subject, body, headers=headers or None)
        return
    block = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    url = system.settings.nats_url
    assert url is not None
    operation = stored(subject.encode(), f"NATS/1.0\r\n{block}\r\n".encode(), body)
    before = await system.events.head()
    await send(url.get_secret_value(), operation)

    async def is_there() -> bool:
        return await system.events.head() == before + 1

    await eventually(is_there)


async def test_whatever_lies_in_the_stream_can_be_skipped_and_is_passed_by_every_rebuild(
    api: Api,
) -> None:
    system = api.system
    for number, (subject, headers, body) in enumerate(ODD):
        await append_many(system.events, 1, f"good{number}")
        await store(system, subject, headers, body)
        # What is the newest when a program begins is no other past either.
        assert await strays(system.pool, system.source) == {}
        head = await system.events.head()
        for worker in system.projections:
            await worker.wait(head)
        assert await strays(system.pool, system.source) == {}
    for worker in system.projections:
        for _ in range(2 * len(ODD)):
            left = await parking.listed(system.pool, worker.name, limit=1)
            if not left:
                break
            await skip(system, worker.projection, left[0].position, actor="user:a", reason="odd")
        assert await parking.listed(system.pool, worker.name, waiting=True) == []
    for worker in system.projections:
        await rebuilds.begin(system.pool, worker.projection, await system.source.identity())
        await ProjectionBuilder(system.pool, system.source, worker.projection).build()
        assert await rebuilds.find(system.pool, worker.projection) is None
        found = await verify(system.pool, system.source, worker.projection)
        assert found.total == 0
    for table in ("devices", "fleet"):
        shown = await system.pool.fetch(f"SELECT tenant_id, device_id FROM configtrail.{table}")
        assert {tenant for tenant, _ in shown} == {"acme"}


async def test_what_stops_a_rebuild_alone_can_be_skipped_and_it_goes_on(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    """The live rows have it: a program that took it in before could, and this one can't."""
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        await append_many(system.events, 3)
        async with running({"audit": ProjectionWorker(system.pool, system.source, AUDIT).run}):
            await wait_projected(system.pool, [AUDIT], 3, 20)
        await rebuilds.begin(system.pool, AUDIT, await system.source.identity())
        builder = ProjectionBuilder(system.pool, system.source, Allergic(AUDIT, 2))
        with pytest.raises(PoisonEvent, match="event 2 can't be taken in"):
            await builder.build()
        with pytest.raises(NotFound):
            await skip(system, AUDIT, 3, actor="user:a", reason=None)
        await skip(system, AUDIT, 2, actor="user:a", reason=None)
        await builder.build()
        assert await rebuilds.find(system.pool, AUDIT) is None
        assert await row_positions(system) == [1, 3, 4]  # the last is the skip itself


async def test_a_skip_lets_the_live_rows_and_the_rebuild_go_on_that_both_lack_the_event(
    stopped: System,
) -> None:
    done = await skip(stopped, Allergic(AUDIT, 2), 2, actor="user:a", reason=None)
    assert (done.done, done.left, done.rebuild) == (2, 0, True)
    await built_without_the_second(stopped)
    with pytest.raises(NotFound):
        await skip(stopped, Allergic(AUDIT, 2), 2, actor="user:a", reason=None)


async def test_a_skip_lets_a_rebuild_go_on_beside_live_rows_of_an_older_version(
    stopped: System,
) -> None:
    """They stay as they are: only a program of their version can bring anything into them."""
    await stopped.pool.execute("UPDATE configtrail.checkpoints SET version = 0")
    done = await skip(stopped, Allergic(AUDIT, 2), 2, actor="user:a", reason=None)
    assert (done.done, done.left, done.rebuild) == (0, 2, True)
    await built_without_the_second(stopped)


@pytest.mark.parametrize("other", ["stream_created = '2020-01-01'", "last_event = 'lost'"])
async def test_a_skip_lets_a_rebuild_go_on_where_the_live_rows_are_of_another_stream_or_past(
    stopped: System, other: str
) -> None:
    await stopped.pool.execute(f"UPDATE configtrail.checkpoints SET {other}")
    with pytest.raises(StreamMismatch):
        await skip(stopped, Allergic(AUDIT, 2), 3, actor="user:a", reason=None)
    done = await skip(stopped, Allergic(AUDIT, 2), 2, actor="user:a", reason=None)
    assert (done.done, done.rebuild) == (0, True)
    await built_without_the_second(stopped)


async def test_a_rebuild_of_another_stream_that_stopped_is_no_reason_to_skip(
    stopped: System,
) -> None:
    for ledger in ("checkpoints", "rebuilds"):
        await stopped.pool.execute(f"UPDATE configtrail.{ledger} SET stream_created = '2020-01-01'")
    head = await stopped.events.head()
    with pytest.raises(StreamMismatch):
        await skip(stopped, Allergic(AUDIT, 2), 2, actor="user:a", reason=None)
    assert await stopped.events.head() == head


@pytest.fixture
async def stopped(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[System]:
    """The second of three events of a device is parked, and a rebuild stopped for it."""
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        await append_many(system.events, 3)
        model = Allergic(AUDIT, 2)
        worker = ProjectionWorker(system.pool, system.source, model)
        async with running({"audit": worker.run}):
            await wait_projected(system.pool, [model], 3, 20)
        assert await waiting(system) == [2, 3]
        await rebuilds.begin(system.pool, model, await system.source.identity())
        with pytest.raises(PoisonEvent, match="event 2 can't be taken in"):
            await ProjectionBuilder(system.pool, system.source, model).build()
        yield system


async def test_the_row_of_a_skipped_event_is_not_missed(stopped: System) -> None:
    assert await missed(stopped) == [2, 3]
    await skip(stopped, Allergic(AUDIT, 2), 2, actor="user:a", reason=None)
    assert await row_positions(stopped) == [1, 3]
    assert await missed(stopped) == []
    await stopped.pool.execute("DELETE FROM configtrail.audit WHERE position = 3")
    assert await missed(stopped) == [3]


async def test_a_row_behind_a_skip_that_stands_on_another_branch_is_missed(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    """A device whose id is too long for the tables: what is skipped there is told of the tenant."""
    subject = f"configtrail.acme.{LONG[:2_000]}.CollectionFailed"
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        await append_many(system.events, 1)
        await system.js.publish(subject, b"")
        await system.js.publish(subject, FAILED, headers=GOOD)
        async with running({"audit": ProjectionWorker(system.pool, system.source, AUDIT).run}):
            await wait_projected(system.pool, [AUDIT], 3, 20)
        # Behind what can't be read nothing is missed before that is skipped.
        assert (await waiting(system), await missed(system)) == ([2, 3], [])
        await skip(system, AUDIT, 2, actor="user:a", reason=None)
        assert (await system.source.at(4)).device_id != (await system.source.at(2)).device_id
        assert (await row_positions(system), await missed(system)) == ([1, 3], [])
        await system.pool.execute("DELETE FROM configtrail.audit WHERE position = 3")
        assert await missed(system) == [3]


async def missed(system: System) -> list[int]:
    """The positions whose rows `audit verify` finds wrong."""
    options = Options(system.settings.log_name, ())
    report = await verify_log(SystemEvidence.of(system), options)
    return [one.position for one in report.findings if one.what == "audit row"]


async def row_positions(system: System) -> list[int]:
    rows = await system.pool.fetch("SELECT position FROM configtrail.audit ORDER BY position")
    return [position for (position,) in rows]


async def built_without_the_second(system: System) -> None:
    await ProjectionBuilder(system.pool, system.source, Allergic(AUDIT, 2)).build()
    assert await rebuilds.find(system.pool, AUDIT) is None
    assert await row_positions(system) == [1, 3, 4]  # the last is the skip itself
    assert await waiting(system) == []


async def waiting(system: System) -> list[int]:
    found = await system.pool.fetch("SELECT position FROM configtrail.parked ORDER BY position")
    return [position for (position,) in found]


async def test_nothing_is_skipped_in_rows_of_another_stream(parked: System) -> None:
    await parked.pool.execute(
        "UPDATE configtrail.checkpoints SET stream_created = '2020-01-01'"
        " WHERE projection = 'audit'"
    )
    head = await parked.events.head()
    with pytest.raises(StreamMismatch):
        await skip(parked, AUDIT, (await waiting(parked))[0], actor="user:a", reason=None)
    assert await parked.events.head() == head


async def told_as_skipped(system: System, count: int) -> list[Delivered]:
    """So many events of no tenant, each told as skipped on the branch that they share."""
    for _ in range(count):
        await system.js.publish("configtrail.odd", b"")
    head = Head()
    for position in range(1, count + 1):
        event = event_skipped(
            "-",
            TENANT_BRANCH,
            projection=AUDIT.name,
            position=position,
            skipped_event_id="",
            actor="user:a",
            occurred_at=NOON,
        )
        stored = await system.events.append(event, head)
        head = Head(stored.version, stored.position)
    return [await system.source.at(position) for position in range(1, count + 1)]


async def test_asking_for_each_of_many_skips_on_one_branch_takes_a_few_requests_each(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        odd = await told_as_skipped(system, 60)
        asked = system.nc.stats["out_msgs"]
        for event in odd:
            assert await system.source.skipped(AUDIT.name, event)
            assert not await system.source.skipped("backups", event)
        assert system.nc.stats["out_msgs"] - asked < 8 * len(odd)


async def test_a_skip_that_the_stream_has_no_more_is_none(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        first, second = await told_as_skipped(system, 2)
        assert await system.source.skipped(AUDIT.name, first)
        await system.js.delete_stream(EVENTS)
        await system.js.add_stream(events_stream_config())
        assert not await system.source.skipped(AUDIT.name, first)
        await told_as_skipped(system, 2)
        assert await system.source.skipped(AUDIT.name, second)


async def confirmations(system: System) -> list[StoredEvent]:
    """A snapshot and three events that confirm it, in the stream."""
    made = [
        replace(one, event_id=observed_event_id(one.event.observation_id))
        for one in history(4, devices=1)
        if isinstance(one.event, SnapshotCreated | DuplicateSkipped)
    ]
    await publish(system.nc, made, EVENTS)
    events = [await system.source.at(position) for position in range(1, 5)]
    found = [one for one in events if isinstance(one, StoredEvent)]
    assert [type(one.event) for one in found] == [SnapshotCreated, *[DuplicateSkipped] * 3]
    return found


async def test_what_confirms_a_skipped_snapshot_is_skipped_with_it(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        await confirmations(system)
        model = Allergic(BACKUPS, 1)
        worker = ProjectionWorker(system.pool, system.source, model)
        async with running({"backups": worker.run}):
            await wait_projected(system.pool, [model], 4, 20)
        done = await skip(system, model, 1, actor="user:a", reason=None)
        assert (done.done, done.left) == (4, 0)
        assert await waiting(system) == []
        # So it is for every rebuild and every comparison from then on.
        builder = ProjectionBuilder(system.pool, system.source, model)
        await rebuilds.begin(system.pool, model, await system.source.identity())
        await builder.build()
        assert await rebuilds.under_way(system.pool) == []
        async with running({"backups": worker.run}):
            await wait_projected(system.pool, [model], 5, 20)
        assert (await verify(system.pool, system.source, model)).total == 0
        # A program that can take the snapshot in takes in all of them.
        whole = ProjectionBuilder(system.pool, system.source, BACKUPS)
        await rebuilds.begin(system.pool, BACKUPS, await system.source.identity())
        await whole.build()
        assert await system.pool.fetchval("SELECT count(*) FROM configtrail.observations") == 4


async def test_what_confirms_a_snapshot_that_is_missing_for_another_reason_is_parked(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    """And so is one where another read model goes on without the snapshot."""
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        created, *confirming = await confirmations(system)
        model = Allergic(AUDIT, 1)
        worker = ProjectionWorker(system.pool, system.source, model)
        async with running({"audit": worker.run}):
            await wait_projected(system.pool, [model], 4, 20)
        await skip(system, model, 1, actor="user:a", reason=None)
        about = created.event_id
        for projection, event, event_id, follows in (
            ("audit", confirming[0], about, True),
            ("backups", confirming[0], about, False),
            ("audit", confirming[0], confirming[1].event_id, False),
            ("audit", created, about, False),
            ("audit", replace(confirming[0], device_id="another"), about, False),
        ):
            assert await system.source.skipped_before(projection, event, event_id) is follows
        await brought_in(system.pool, [BACKUPS], [created])
        await system.pool.execute("DELETE FROM configtrail.snapshots")
        writer = ProjectionWriter(system.pool, BACKUPS, Listed([created, *confirming]))
        await writer.prepare(STREAM)
        await writer.apply(confirming)
        (parked,) = await parking.listed(system.pool, BACKUPS.name)
        assert parked.position == 2
        assert "skip this one too" in (parked.error or "")
