"""Every way of tampering with a history is found and named; an untouched one is never accused.

The history is real: told to a real stream, sealed, projected. Each case changes one thing in a copy
of it and looks at what verification says first.
"""

from __future__ import annotations

import base64
import copy
import random
from collections import Counter
from datetime import datetime, timedelta

import pytest_asyncio
from msgspec.structs import replace

from adapters.crypto.signing import SigningKey
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.source import JetStreamSource
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.verify import verify
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.handover import handover_origin, handover_text
from domain.tlog.names import STREAM_LOG, LogNames, tenant_log
from domain.tlog.note import Note
from projections.audit.write import COLUMNS, Audit
from projections.writer import ProjectionWriter
from tests.history_copy import OPTIONS, Copy, first_of, told_history
from tests.logs import BASE, KEY, Story, seal
from tests.rig import rig
from tests.tamperings import TAMPERINGS, alter_body

CASES_EACH = 80


async def test_a_read_model_that_is_behind_is_not_accused(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=5)
        await story.tell(20)
        source, audit = JetStreamSource(one.nc, one.js), Audit()
        writer = ProjectionWriter(pool, audit, source)
        await writer.prepare(await one.raw.identity())
        await writer.apply([await source.at(position) for position in range(1, 16)])
        await seal(one, pool)
        evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
        report = await verify(evidence, replace(OPTIONS, content=False))
        assert report.findings == ()
        assert (report.rows, report.awaited) == (15, report.events - 15)


# What each column of a row is set to; times also to such as Python has none of.
WRONG_VALUES = (
    "tenant_id = tenant_id || '-'",
    "event_id = event_id || '-'",
    "occurred_at = occurred_at + interval '1 microsecond'",
    "occurred_at = 'infinity'",
    "occurred_at = '0044-03-15 BC'",
    "stored_at = stored_at - interval '1 microsecond'",
    "stored_at = '20000-01-01'",
    "stored_at = '9999-12-31 23:59:59.999999+00'",
    "actor = actor || '-'",
    "action = 'device_configured_'",
    "resource_type = resource_type || '-'",
    "resource_id = upper(resource_id) || '-'",
    "device_id = device_id || '-'",
    "version = version + 1",
    "correlation_id = coalesce(correlation_id, '') || '-'",
    "causation_id = coalesce(causation_id, '') || '-'",
    "details = details || ' '",
)


async def test_a_row_in_postgres_with_one_other_value_is_named(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=6)
        await story.tell(len(WRONG_VALUES) + 5)
        source = JetStreamSource(one.nc, one.js)
        writer = ProjectionWriter(pool, Audit(), source)
        await writer.prepare(await one.raw.identity())
        head = (await one.raw.ends())[1]
        await writer.apply([await source.at(position) for position in range(1, head + 1)])
        await seal(one, pool)
        evidence = SystemEvidence(one.raw, one.notes, TileStore(pool), pool, one.content)
        options = replace(OPTIONS, content=False)
        await pool.execute("SET timezone = 'Asia/Kathmandu'")
        assert (await verify(evidence, options)).findings == ()
        for position, wrong in enumerate(WRONG_VALUES, 2):
            await pool.execute(
                f"UPDATE configtrail.audit SET {wrong} WHERE position = $1", position
            )
        report = await verify(evidence, options)
        assert [(found.what, found.kind, found.position) for found in report.findings] == [
            ("audit row", "altered", position) for position, _ in enumerate(WRONG_VALUES, 2)
        ]
        assert {column.split()[0] for column in WRONG_VALUES} == {*COLUMNS} - {"position"}
        # The session goes back to the pool as it was.
        moment = await pool.fetchval("SELECT min(stored_at) FROM configtrail.audit")
        assert isinstance(moment, datetime)


@pytest_asyncio.fixture
async def told(nats_server: EmbeddedNats, postgres_dsn: str) -> Copy:
    """A history that is sealed to its end."""
    return await told_history(nats_server, postgres_dsn, tail=0)


async def test_every_tampering_is_found_and_named(told: Copy) -> None:
    assert told.sealed == len(told.events) == told.last
    tried: Counter[str] = Counter()
    for tamper in TAMPERINGS:
        for seed in range(CASES_EACH):
            it = copy.copy(told)
            it.events, it.audit = list(told.events), list(told.audit)
            it.stored_notes, it.leaves = list(told.stored_notes), list(told.leaves)
            it.gone, it.corrupt = set(), set()
            expected = tamper(it, random.Random(seed))
            report = await verify(it, OPTIONS)
            assert not report.ok, (tamper.__name__, seed)
            assert first_of(report, expected[0]) == expected, (
                tamper.__name__,
                seed,
                report.findings[:5],
            )
            tried[tamper.__name__] += 1
    assert sum(tried.values()) >= 2000


async def test_an_untouched_history_is_never_accused(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    told = await told_history(nats_server, postgres_dsn, tail=17)
    report = await verify(told, OPTIONS)
    assert report.ok, report.findings
    assert (report.events, report.sealed) == (told.last, told.sealed)
    assert report.events > report.sealed
    # Tiles are only there to tell which event is bad: without them nothing is bad either.
    told.leaves = []
    assert (await verify(told, OPTIONS)).ok
    # Rows of the last events may be on their way: what is there is compared all the same.
    (*all_rows,) = told.audit
    told.audit, told.projected = all_rows[:-5], told.last - 5
    report = await verify(told, OPTIONS)
    assert (report.ok, report.rows, report.awaited) == (True, told.last - 5, 5)
    told.audit[-1] = (*told.audit[-1][:-1], "{}")
    told.projected = 0
    report = await verify(told, OPTIONS)
    assert first_of(report, "audit row") == ("audit row", "altered", told.last - 5)
    told.audit, told.projected = all_rows[:-5], told.last - 4
    report = await verify(told, OPTIONS)
    assert first_of(report, "audit row") == ("audit row", "missing", told.last - 4)
    told.audit, told.projected = all_rows, told.last
    # A checkpoint that somebody kept elsewhere says the same.
    kept = told.stored_notes[3].raw
    assert (await verify(told, replace(OPTIONS, outside=(kept,)))).ok


async def test_a_history_without_any_checkpoint_is_not_said_to_be_as_it_was_signed(
    told: Copy,
) -> None:
    kept = told.stored_notes[told.checkpoints(STREAM_LOG)[-1][0]].raw
    told.stored_notes, told.last_note = [], 0
    report = await verify(told, OPTIONS)
    assert [(one.what, one.kind) for one in report.findings] == [("checkpoint", "unsigned")]
    assert (await verify(told, replace(OPTIONS, outside=(kept,)))).ok
    told.events, told.audit, told.last = [], [], 0
    assert (await verify(told, OPTIONS)).ok, "there is nothing to sign"


async def test_what_nobody_can_read_is_in_the_log_and_nobody_is_accused_for_it(
    nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    told = await told_history(nats_server, postgres_dsn, tail=9, strange=True)
    report = await verify(told, OPTIONS)
    assert (report.ok, report.unreadable) == (True, 1)
    assert alter_body(told, random.Random(3))[1] == "altered"
    assert not (await verify(told, OPTIONS)).ok


async def test_checkpoints_of_a_former_name_or_stream_are_told_of_and_hide_nothing(
    told: Copy,
) -> None:
    other = SigningKey(bytes(range(1, 33)))
    former = replace(told.stream, created=told.stream.created - timedelta(days=1))
    root = bytes(32)
    before = [
        *(
            LogNames("configtrail.example/old", former).origin(one)
            for one in (STREAM_LOG, "tenant/acme")
        ),
        LogNames(BASE, former).origin(STREAM_LOG),
    ]
    for key in (KEY, other):
        for origin in before:
            told.add_note(origin, str(key.note(Checkpoint(origin, 10_000, root))).encode())
    text = handover_text("configtrail.example/old", KEY.public, other.public)
    both = (
        KEY.sign_text("configtrail.example/old", text),
        other.sign_text("configtrail.example/old", text),
    )
    told.add_note(handover_origin("configtrail.example/old"), str(Note(text, both)).encode())
    report = await verify(told, OPTIONS)
    assert (report.findings, report.others) == ((), 7)
    # A claim about this stream is found wherever it stands, and so is what is no note at all.
    now = LogNames(BASE, told.stream)
    for origin in (now.origin(STREAM_LOG), now.origin("tenant/acme")):
        forked = str(KEY.note(Checkpoint(origin, 1, root))).encode()
        for place, kind in ((before[0], "altered"), (before[2], "altered"), (origin, "forked")):
            one = copy.deepcopy(told)
            one.add_note(place, forked)
            report = await verify(one, OPTIONS)
            assert {(two.what, two.kind) for two in report.findings} >= {("checkpoint", kind)}
            assert report.others == 7
    told.add_note(before[0], b"none")
    told.add_note(handover_origin("configtrail.example/old"), forked)
    report = await verify(told, OPTIONS)
    assert [two.kind for two in report.findings] == ["altered", "altered"]
    # Where somebody asks about one that was kept elsewhere, it is not passed over.
    report = await verify(told, replace(OPTIONS, outside=(told.stored_notes[-9].raw,)))
    assert any(two.position == 0 for two in report.findings)


async def test_a_tail_that_is_gone_with_its_checkpoints_shows_by_one_kept_elsewhere(
    told: Copy,
) -> None:
    index, checkpoint = told.checkpoints(STREAM_LOG)[-1]
    kept = told.stored_notes[index].raw
    before = told.checkpoints(STREAM_LOG)[-2]
    told.end_notes_with(before[0])
    told.end_with(before[1].size)
    assert (await verify(told, OPTIONS)).ok, "this no log can tell by itself"
    report = await verify(told, replace(OPTIONS, outside=(kept,)))
    assert first_of(report, "event") == ("event", "truncated", before[1].size + 1)
    assert base64.b64encode(checkpoint.root).decode() in kept.decode()


async def test_a_tenants_tail_that_is_gone_shows_by_its_own_checkpoint_kept_elsewhere(
    told: Copy,
) -> None:
    """Its auditor has the tenant's log alone. What is left is signed, so the stream is whole."""
    log = tenant_log("acme")
    index, checkpoint = told.checkpoints(log)[-1]
    kept = told.stored_notes[index].raw
    before = told.checkpoints(STREAM_LOG)[-2]
    told.end_notes_with(before[0])
    told.end_with(before[1].size)
    report = await verify(told, replace(OPTIONS, outside=(kept,)))
    (found,) = report.findings
    assert (found.what, found.kind) == ("checkpoint", "truncated")
    assert f"the log {log} had {checkpoint.size} events when it was signed" in found.detail


async def test_what_postgres_keeps_counts_where_the_checkpoints_lack_it(told: Copy) -> None:
    index, _ = told.checkpoints(STREAM_LOG)[-1]
    kept = told.stored_notes[index].raw
    assert (await verify(told, replace(OPTIONS, kept=(kept,)))).checkpoints == len(
        told.stored_notes
    ), "it is among them"
    before = told.checkpoints(STREAM_LOG)[-2]
    told.end_notes_with(before[0])
    assert (await verify(told, replace(OPTIONS, kept=(kept,)))).ok, "the events are all there"
    told.end_with(before[1].size)
    report = await verify(told, replace(OPTIONS, kept=(kept,)))
    assert first_of(report, "event") == ("event", "truncated", before[1].size + 1)
