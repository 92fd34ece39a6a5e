"""What NATS tells: server, clock, streams, consumers, keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from nats.aio.client import Client
from nats.js.api import AccountInfo
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from adapters.crypto.keys import KeyRing, MasterKeys
from adapters.crypto.rotating import Under, keys_under, short
from adapters.diagnosing.consumers import look_at_consumers
from adapters.diagnosing.finding import Finding, skew
from adapters.diagnosing.streams import look_at_streams
from adapters.jetstream.clock import server_time
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.streams import EVENTS
from adapters.settings import Settings
from domain.errors import ConfigtrailError, StreamMissing, Unavailable

# Atomic batches came with these.
SERVER_MIN = (2, 12)
API_LEVEL_MIN = 2
_OFF_FOR_ACCOUNT = 10039
_ENABLE = "give the server a jetstream block, as deploy/nats/nats.conf has"


async def look_at_nats(nc: Client, settings: Settings) -> list[Finding]:
    """All that NATS tells. Without JetStream that is one thing."""
    unusable = await _unusable(nc)
    if unusable is not None:
        return [unusable]
    found: list[Finding] = []
    checks: tuple[tuple[str, Callable[[Client, Settings], Awaitable[list[Finding]]]], ...] = (
        ("server", _server),
        ("clock", _clock),
        ("streams", look_at_streams),
        ("consumers", look_at_consumers),
        ("keys", _keys),
    )
    for subject, check in checks:
        try:
            found += await check(nc, settings)
        except ConfigtrailError as error:
            found.append(Finding(subject, "wrong", str(error)))
        except APIError as error:
            told = f"JetStream refuses to tell: {error.description}"
            found.append(Finding(subject, "wrong", told))
    return found


async def _unusable(nc: Client) -> Finding | None:
    """Why JetStream can't be asked for anything, if so."""
    try:
        await _account(nc)
    except Unavailable as error:
        refused = error.__cause__
        # Nobody listens where JetStream would: that is an answer without a code.
        if isinstance(refused, ServiceUnavailableError):
            if refused.err_code is None:
                told = "is not enabled on this server"
                return Finding("JetStream", "wrong", told, _ENABLE)
            if refused.err_code == _OFF_FOR_ACCOUNT:
                told = "is not enabled for this account"
                return Finding("JetStream", "wrong", told, _ENABLE)
        return Finding("JetStream", "wrong", str(error), "look at the server and its log")
    return None


async def _account(nc: Client) -> AccountInfo:
    with outage_as_unavailable("asking for the account"):
        return await nc.jetstream().account_info()


async def _server(nc: Client, settings: Settings) -> list[Finding]:
    version = nc.connected_server_version
    level = (await _account(nc)).api.level or 0
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
        told = await server_time(nc, EVENTS)
    return [] if told is None else skew("clock of NATS", told)


async def _keys(nc: Client, settings: Settings) -> list[Finding]:
    store = JetStreamKeyStore(nc.jetstream())
    given, former = settings.given_master_keys
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
    masters = await asyncio.to_thread(MasterKeys.load, given, settings.key_file, former)
    if not names:
        return [Finding("master key", "fine", "opens the keys (0 there)")]
    await KeyRing(masters, store).check_opens()
    try:
        under = await keys_under(store)
    except (NotFoundError, StreamMissing) as error:  # told of among the streams
        return [Finding("master key", "notice", f"not all keys can be looked at: {error}")]
    return _under(masters, under)


def _under(masters: MasterKeys, under: Under) -> list[Finding]:
    """Under which master keys the keys are."""
    first = masters.first.master_id
    found: list[Finding] = []
    known = {short(one.master_id) for one in masters.former}
    for name, count in sorted(under.other_than(first).items()):
        told = f"{count} keys are under the master key {name}, not under {short(first)}"
        mend = "configtrail rotate-master-key moves them; keep that one until then"
        if name not in known:
            mend = f"find that one: without it they can't be read; then {mend}"
        found.append(Finding("master key", "notice" if name in known else "wrong", told, mend))
    if not found and masters.former:
        told = "nothing is under a former one any more"
        mend = "take it out of CONFIGTRAIL_MASTER_KEY_OLD, or the file"
        found.append(Finding("master key", "notice", told, mend))
    return found or [
        Finding("master key", "fine", f"opens the keys ({sum(under.counts.values())} there)")
    ]
