"""The sealer on real servers: what it signs is what the stream holds, whatever happens to it."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.jetstream.checkpoints import Overtaken
from adapters.jetstream.streams import EVENTS, events_stream_config
from adapters.postgres.tiles import TileStore
from adapters.roles.sealer import SEAL_SUBJECT, SealAnswer, key_loader
from adapters.roles.sealing import TilesWrong
from adapters.tlog.proofs import Prover, root_at
from domain import decisions
from domain.envelope import Head
from domain.errors import (
    KeyUnavailable,
    LogBroken,
    NotFound,
    NotVerified,
    StreamGap,
    StreamMismatch,
)
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.leaf import RawEvent, hash_of
from domain.tlog.names import STREAM_LOG, LogNames, tenant_log
from domain.tlog.note import parse_note
from domain.tlog.proof import check_consistency, check_inclusion
from projections.rows import Pool
from tests.generators import START
from tests.logs import (
    BASE,
    KEY,
    Story,
    assert_truly_signed,
    names,
    raw_events,
    seal,
    sealer,
    sealing,
    stored_notes,
)
from tests.rig import Rig
from tests.support import eventually


async def test_raw_events_are_the_bytes_that_the_server_stores(connected: Rig) -> None:
    """`STREAM.MSG.GET` gives them too, one by one: our reading must not differ in a byte."""
    subject = "configtrail.acme.r1.Strange"
    block = b"NATS/1.0\r\nce-id:  two spaces \r\nCE-ID: again\r\nempty:\r\nutf: \xc3\xb6\r\n\r\n"
    body = b'{"a":\r\n1}'
    command = f"HPUB {subject} {len(block)} {len(block) + len(body)}\r\n".encode()
    await connected.nc._send_command(command + block + body + b"\r\n")
    await connected.nc._send_command(f"PUB {subject} 0\r\n\r\n".encode())
    await connected.nc.flush()

    async def stored() -> bool:
        return bool((await connected.raw.ends())[1] == 2)

    await eventually(stored)
    first, second = await raw_events(connected)
    assert (first.subject, first.block, first.body) == (subject, block, body)
    assert (second.block, second.body) == (b"", b"")
    answer = await connected.nc.request(f"$JS.API.STREAM.MSG.GET.{EVENTS}", b'{"seq": 1}')
    got = msgspec.json.decode(answer.data)["message"]
    assert msgspec.convert(got["hdrs"], bytes, strict=False) == first.block
    assert msgspec.convert(got["data"], bytes, strict=False) == first.body
    assert got["time"].rstrip("Z").rpartition(".")[2] == str(first.stored_ns)[-9:].rstrip("0")


async def test_everything_is_signed_in_the_streams_and_its_tenants_log(
    connected: Rig, pool: Pool
) -> None:
    story = Story(connected)
    for count in (1, 300, 40):
        await story.tell(count)
        assert await seal(connected, pool) > 0
    assert await seal(connected, pool) == 0, "nothing new, nothing signed"
    signed = await assert_truly_signed(connected)
    known = await names(connected)
    assert signed[known.origin(STREAM_LOG)][-1].size == story.told
    tenants = [known.origin(tenant_log(one)) for one in ("acme", "globex")]
    assert sum(signed[one][-1].size for one in tenants) == story.told


async def test_any_event_and_any_pair_of_sizes_can_be_proven(connected: Rig, pool: Pool) -> None:
    story = Story(connected)
    await story.tell(600)
    await seal(connected, pool)
    await story.tell(5)
    known = await names(connected)
    prover = Prover(TileStore(pool), connected.checkpoints, known)
    events = await raw_events(connected)
    last = (await prover.sealed(STREAM_LOG)).checkpoint.size
    for event in events[:last:37]:
        tenant = event.subject.split(".")[1]
        for log in (STREAM_LOG, tenant_log(tenant)):
            proof = await prover.inclusion(log, event.position)
            keys = (KEY.verifier(known.origin(log)),)
            check_inclusion(proof, hash_of(EVENTS, event), keys, check_ed25519)
        other = tenant_log("globex" if tenant == "acme" else "acme")
        with pytest.raises(NotFound):
            await prover.inclusion(other, event.position)
    with pytest.raises(NotFound, match="sealed event"):
        await prover.inclusion(STREAM_LOG, last + 1)
    for old in (1, 2, 255, 256, 257, last):
        grown = await prover.consistency(STREAM_LOG, old)
        check_consistency(grown, (KEY.verifier(known.origin(STREAM_LOG)),), check_ed25519)
    with pytest.raises(NotFound):
        await prover.consistency(STREAM_LOG, last + 1)


async def test_the_role_signs_on_a_beat_and_at_once_when_asked(connected: Rig, pool: Pool) -> None:
    story = Story(connected)
    await story.tell(20)
    async with sealer(connected, pool, every=3600):

        async def first() -> bool:
            return bool(await stored_notes(connected))

        await eventually(first)
        before = story.told
        await story.tell(10)
        answer = await connected.nc.request(SEAL_SUBJECT, b"", timeout=10)
        assert msgspec.json.decode(answer.data, type=SealAnswer).position >= before + 10
    signed = await assert_truly_signed(connected)
    assert signed[(await names(connected)).origin(STREAM_LOG)][-1].size == story.told
    await story.tell(10)
    async with sealer(connected, pool, every=0.1):

        async def caught_up() -> bool:
            last = await connected.checkpoints.last((await names(connected)).origin(STREAM_LOG))
            assert last is not None
            return f"\n{story.told}\n" in parse_note(last.raw).text

        await eventually(caught_up)


@pytest.mark.parametrize("lost", ["dropped", "altered", "behind", "ahead"])
async def test_tiles_are_only_a_read_model(connected: Rig, pool: Pool, lost: str) -> None:
    story = Story(connected)
    await story.tell(300)
    await seal(connected, pool)
    await story.tell(20)
    match lost:
        case "dropped":
            await pool.execute("DROP SCHEMA configtrail_log CASCADE")
        case "altered":
            await pool.execute(
                "UPDATE configtrail_log.tiles SET hashes = overlay(hashes placing '\\xffff' from 3)"
            )
        case "behind":
            await pool.execute("UPDATE configtrail_log.state SET position = 100")
        case _:
            # Somebody wrote tiles beyond what is signed: they are not believed.
            work = sealing(connected, pool)
            await work.open()
            await work.apply((await raw_events(connected))[work.position :])
            await pool.execute(
                "UPDATE configtrail_log.tiles SET hashes = overlay(hashes placing '\\xffff' from "
                "length(hashes) - 1) WHERE level = 0 AND length(hashes) < 8192"
            )
    role = sealer(connected, pool)
    async with role:

        async def caught_up() -> bool:
            last = await connected.checkpoints.last((await names(connected)).origin(STREAM_LOG))
            assert last is not None
            return f"\n{story.told}\n" in parse_note(last.raw).text

        await eventually(caught_up)
    signed = await assert_truly_signed(connected)
    for origin, checkpoints in signed.items():
        log = (await names(connected)).log(origin)
        assert log is not None
        assert await root_at(TileStore(pool), log, checkpoints[-1].size) == checkpoints[-1].root


async def test_two_sealers_without_a_lease_never_fork_the_log(connected: Rig, pool: Pool) -> None:
    story = Story(connected)
    choice = random.Random(5)
    works = [sealing(connected, pool), sealing(connected, pool)]
    for work in works:
        await work.open()
    for _ in range(12):
        await story.tell(choice.randrange(1, 30))
        events = await raw_events(connected)

        async def step(number: int, events: list[RawEvent] = events) -> None:
            try:
                await works[number].apply(events[works[number].position :])
                await works[number].seal()
            except (Overtaken, TilesWrong, asyncpg.UndefinedTableError) as error:
                works[number] = sealing(connected, pool)
                await works[number].open(rebuild=not isinstance(error, Overtaken))

        await asyncio.gather(step(0), step(1))
    await seal(connected, pool)
    signed = await assert_truly_signed(connected)
    assert signed[(await names(connected)).origin(STREAM_LOG)][-1].size == story.told


async def test_a_lost_acknowledgement_of_a_checkpoint_is_not_a_conflict(connected: Rig) -> None:
    store = connected.checkpoints
    first = await store.append("a/b", b"one", after=0)
    assert await store.append("a/b", b"one", after=0) == first
    with pytest.raises(Overtaken):
        await store.append("a/b", b"two", after=0)


async def test_a_stream_that_was_made_anew_is_not_signed(connected: Rig, pool: Pool) -> None:
    await Story(connected).tell(30)
    await seal(connected, pool)
    await connected.js.delete_stream(EVENTS)
    await connected.js.add_stream(events_stream_config())
    await Story(connected, seed=2).tell(40)
    with pytest.raises(StreamMismatch, match="another stream"):
        await seal(connected, pool)


async def test_what_others_store_as_another_streams_checkpoint_holds_up_nothing(
    connected: Rig, pool: Pool
) -> None:
    await Story(connected).tell(30)
    now = await names(connected)
    identity = replace(now.identity, created=now.identity.created - timedelta(days=1))
    origin = LogNames(BASE, identity).origin(STREAM_LOG)
    checkpoint = Checkpoint(origin, 7, bytes(32))
    for raw in (b"junk", str(SigningKey(bytes(32)).note(checkpoint)).encode()):
        last = await connected.checkpoints.last(origin)
        await connected.checkpoints.append(origin, raw, after=last.sequence if last else 0)
    assert await seal(connected, pool)
    # One of ours among them is: the stream was made anew since.
    last = await connected.checkpoints.last(origin)
    assert last is not None
    after = await connected.checkpoints.append(
        origin, str(KEY.note(checkpoint)).encode(), after=last.sequence
    )
    await connected.checkpoints.append(origin, b"junk", after=after)
    with pytest.raises(StreamMismatch, match="another stream"):
        await seal(connected, pool)


async def test_history_that_the_servers_settings_dropped_is_not_signed_over(
    connected: Rig, pool: Pool
) -> None:
    story = Story(connected)
    await story.tell(30)
    await seal(connected, pool)
    live = (await connected.js.stream_info(EVENTS)).config
    await connected.js.update_stream(live.evolve(discard="old", max_msgs=20))
    with pytest.raises(StreamGap):
        await seal(connected, pool)


async def test_a_checkpoint_of_another_root_stops_the_sealer(connected: Rig, pool: Pool) -> None:
    """As after the stream's disk went back to an older copy, and other events came since."""
    story = Story(connected)
    await story.tell(30)
    await seal(connected, pool)
    origin = (await names(connected)).origin(STREAM_LOG)
    last = await connected.checkpoints.last(origin)
    assert last is not None
    await story.tell(5)
    forged = KEY.note(Checkpoint(origin, story.told - 1, bytes(32)))
    await connected.checkpoints.append(origin, str(forged).encode(), after=last.sequence)
    with pytest.raises(LogBroken, match="no longer has the signed root"):
        await seal(connected, pool)


async def test_a_stream_that_ends_before_its_checkpoint_is_not_signed(
    connected: Rig, pool: Pool
) -> None:
    await Story(connected).tell(30)
    await seal(connected, pool)
    known = await names(connected)
    for log in (tenant_log("acme"), STREAM_LOG):
        last = await connected.checkpoints.last(known.origin(log))
        assert last is not None
        beyond = KEY.note(Checkpoint(last.origin, 1000, bytes(32)))
        await connected.checkpoints.append(
            last.origin, str(beyond).encode(), after=last.sequence, position=1000
        )
        await connected.events.append(
            decisions.collection_failed(
                "acme",
                f"new-{len(log)}",
                failure_id=log,
                kind="timeout",
                message="",
                attempted_at=START,
                source="scheduled",
                attempt=1,
            ),
            Head(),
        )
        with pytest.raises(LogBroken, match="the stream ends at"):
            await seal(connected, pool)


async def test_without_its_key_nothing_is_signed(connected: Rig, pool: Pool) -> None:
    await Story(connected).tell(5)
    await seal(connected, pool)
    with pytest.raises(KeyUnavailable, match="not of this key"):
        await seal(connected, pool, SigningKey(bytes(32)))


async def test_a_lost_key_is_not_replaced_in_silence(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("keys") / "log.key"
    load = key_loader(None, path)
    with pytest.raises(KeyUnavailable, match="put it back"):
        load(False)
    made = load(True)
    assert load(False).public == made.public


async def test_proofs_are_never_given_from_tiles_that_do_not_lead_to_the_root(
    connected: Rig, pool: Pool
) -> None:
    await Story(connected).tell(300)
    await seal(connected, pool)
    prover = Prover(TileStore(pool), connected.checkpoints, await names(connected))
    await pool.execute(
        "UPDATE configtrail_log.tiles SET hashes = overlay(hashes placing '\\xffff' from 3)"
    )
    with pytest.raises(NotVerified, match="root"):
        await prover.inclusion(STREAM_LOG, 3)
    await pool.execute("DELETE FROM configtrail_log.tiles WHERE level = 0 AND n = 0")
    with pytest.raises(NotVerified, match="not there"):
        await prover.inclusion(STREAM_LOG, 3)
