"""What is wrong with an installation, in plain words: each check looks at one thing and tells.

Nothing here changes or makes anything.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import asyncpg
from msgspec import Struct
from nats.aio.client import Client
from nats.js.api import ConsumerInfo, StreamInfo
from nats.js.errors import NotFoundError

from adapters.crypto.keys import unwrap
from adapters.crypto.master import MasterKey
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.dead_letters import DEAD_LETTERS
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.streams import EVENTS, INTAKE, differences, misconfigured, wanted_streams
from adapters.settings import Settings
from domain.errors import ConfigtrailError
from projections import ALL
from projections.checkpoints import checkpoints

Verdict = Literal["fine", "notice", "wrong"]

# Atomic batches came with these.
SERVER_MIN = (2, 12)
API_LEVEL_MIN = 2
CLOCK_SECONDS = 2.0
FULL_SHARE = 0.8
# Consumer, and the stream that it reads.
CONSUMERS = (("recorder", INTAKE), ("differ", EVENTS), ("trigger-reaper", EVENTS))


class Finding(Struct, frozen=True):
    """What a check found. `mend` says what to do about it."""

    subject: str
    verdict: Verdict
    told: str
    mend: str | None = None


async def look_at_nats(nc: Client, settings: Settings) -> list[Finding]:
    """All that NATS tells: server, clock, streams, consumers, keys."""
    found: list[Finding] = []
    checks: tuple[Callable[[Client, Settings], Awaitable[list[Finding]]], ...] = (
        _server,
        _clock,
        _streams,
        _consumers,
        _keys,
    )
    for check in checks:
        try:
            found += await check(nc, settings)
        except ConfigtrailError as error:
            found.append(Finding(check.__name__.strip("_"), "wrong", str(error)))
    return found


async def look_at_postgres(dsn: str, head: int | None) -> list[Finding]:
    """Whether Postgres answers, and how far the read models are."""
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        return [
            Finding(
                "Postgres",
                "wrong",
                f"no connection: {type(error).__name__}",
                "look at CONFIGTRAIL_POSTGRES_DSN, and whether the server runs",
            )
        ]
    try:
        version: str = await connection.fetchval("SELECT version()")
        now: datetime = await connection.fetchval("SELECT now()")
        found = [Finding("Postgres", "fine", " ".join(version.split()[:2]))]
        found += _skew("clock of Postgres", now)
        try:
            reached = await checkpoints(connection)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            reached = {}
        for one in ALL:
            found.append(_read_model(one.name, reached.get(one.name), head))
        return found
    finally:
        await connection.close()


def _read_model(name: str, checkpoint: object, head: int | None) -> Finding:
    subject = f"read model {name}"
    position = getattr(checkpoint, "position", None)
    if position is None:
        return Finding(subject, "notice", "is not built yet", "start configtrail up")
    if head is not None and position > head:
        return Finding(
            subject,
            "wrong",
            f"stands at {position}, and the log ends at {head}: the log was recreated or restored",
            "if that is what you did, drop the schema configtrail and start",
        )
    if head is not None and position < head:
        told = f"stands at {position} of {head}"
        return Finding(subject, "notice", told, "it follows while configtrail up runs")
    return Finding(subject, "fine", f"holds all events up to {position}")


async def _server(nc: Client, settings: Settings) -> list[Finding]:
    version = nc.connected_server_version
    with outage_as_unavailable("asking for the account"):
        level = (await nc.jetstream().account_info()).api.level or 0
    found = f"nats-server {version.major}.{version.minor}.{version.patch}, API level {level}"
    if (version.major, version.minor) < SERVER_MIN or level < API_LEVEL_MIN:
        return [
            Finding(
                "NATS server",
                "wrong",
                f"{found} is too old for atomic batches",
                "run nats-server 2.12 or newer",
            )
        ]
    telling = [Finding("NATS server", "fine", found)]
    if settings.nats_url is not None:
        telling.append(
            Finding(
                "durability",
                "notice",
                "whether the server syncs every write can't be seen from here",
                "it must run with `sync_interval: always` in its jetstream block",
            )
        )
    return telling


async def _clock(nc: Client, settings: Settings) -> list[Finding]:
    with outage_as_unavailable("asking for the time"):
        asked = await nc.request(f"$JS.API.STREAM.INFO.{EVENTS}", b"", timeout=5)
    told = json.loads(asked.data).get("ts")
    if told is None:
        return []
    # Nanoseconds are more than Python reads.
    return _skew("clock of NATS", datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", told)))


def _skew(subject: str, theirs: datetime) -> list[Finding]:
    away = abs(theirs - datetime.now(UTC))
    if away > timedelta(seconds=CLOCK_SECONDS):
        return [
            Finding(
                subject,
                "wrong",
                f"it is {away.total_seconds():.0f} s away from this machine's",
                "let all machines follow one time server",
            )
        ]
    return [Finding(subject, "fine", f"agrees with this machine's within {CLOCK_SECONDS:g} s")]


async def _streams(nc: Client, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    for wanted in wanted_streams(settings.stream_replicas, settings.intake_max_bytes):
        assert wanted.name is not None
        with outage_as_unavailable(f"looking at the stream {wanted.name}"):
            try:
                info = await nc.jetstream().stream_info(wanted.name)
            except NotFoundError:
                told = "is not there yet"
                found.append(Finding(wanted.name, "notice", told, "start configtrail up"))
                continue
        broken = [misconfigured(one) for one in differences(wanted, info.config)]
        if broken:
            found += [Finding(wanted.name, "wrong", str(error)) for error in broken]
            continue
        found.append(_state(wanted.name, info, settings.stream_replicas))
    return found


def _state(name: str, info: StreamInfo, replicas: int) -> Finding:
    state, limit = info.state, info.config.max_bytes or 0
    plural = "" if state.messages == 1 else "s"
    told = f"{state.messages} message{plural}, {state.bytes / 1e6:.1f} MB"
    if name == EVENTS and state.messages != state.last_seq:
        return Finding(
            name,
            "wrong",
            f"has {state.messages} messages and ends at {state.last_seq}: history has holes",
            "stop writing, and restore the stream from a copy",
        )
    if name == DEAD_LETTERS and state.messages:
        return Finding(name, "notice", told, "configtrail deadletters shows them")
    if limit > 0 and state.bytes > FULL_SHARE * limit:
        return Finding(
            name,
            "wrong" if state.bytes > 0.98 * limit else "notice",
            f"{told}: {100 * state.bytes / limit:.0f} % of its limit",
            "raise its limit, or let what reads it catch up; when full it refuses",
        )
    cluster = info.cluster
    if cluster is not None and (cluster.replicas or replicas > 1):
        behind = [peer.name for peer in cluster.replicas or () if not peer.current]
        if cluster.leader is None:
            return Finding(name, "wrong", "has no leader", "start the other servers")
        if behind:
            told = f"the copies on {', '.join(map(str, behind))} are behind or away"
            return Finding(name, "wrong", told, "look at those servers")
    if (info.config.num_replicas or 1) < replicas:
        told = f"has {info.config.num_replicas} copies, and {replicas} are set"
        return Finding(name, "notice", told, "the next start of configtrail up makes more")
    return Finding(name, "fine", told)


async def _consumers(nc: Client, settings: Settings) -> list[Finding]:
    found = []
    for name, stream in CONSUMERS:
        with outage_as_unavailable(f"looking at the consumer {name}"):
            try:
                info = await nc.jetstream().consumer_info(stream, name)
            except NotFoundError:
                told = "was never there"
                found.append(Finding(name, "notice", told, "start configtrail up"))
                continue
        found.append(_consumer(name, info))
    return found


def _consumer(name: str, info: ConsumerInfo) -> Finding:
    waiting, taken = info.num_pending or 0, info.num_ack_pending or 0
    told = f"{waiting} wait, {taken} are under way"
    if (waiting or taken) and not info.num_waiting:
        return Finding(name, "wrong", f"{told}, and nobody works", "start configtrail up")
    return Finding(name, "fine", told)


async def _keys(nc: Client, settings: Settings) -> list[Finding]:
    store = JetStreamKeyStore(nc.jetstream())
    given = settings.master_key.get_secret_value() if settings.master_key else None
    try:
        names = await store.names()
    except NotFoundError:  # nothing was ever started here
        names = []
    if given is None and not await asyncio.to_thread(Path(settings.key_file).exists):
        if not names:
            told = "there is none yet"
            return [Finding("master key", "notice", told, "the first start makes it; back it up")]
        told = f"{settings.key_file} is not there, and {len(names)} keys are wrapped with it"
        return [Finding("master key", "wrong", told, "bring it back from your copy")]
    master = await asyncio.to_thread(MasterKey.load, given, settings.key_file)
    for name in sorted(names)[:1]:
        unwrap(master, name, await store.get(name) or b"")
    return [Finding("master key", "fine", f"opens the keys ({len(names)} there)")]
