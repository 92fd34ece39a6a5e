"""What the signed log tells: how far it is signed, whether it was set back, and its witnesses."""

from __future__ import annotations

from contextlib import aclosing, suppress

import asyncpg
from nats.aio.client import Client
from nats.js.errors import APIError

from adapters.crypto.signing import SigningKey
from adapters.diagnosing.finding import Finding
from adapters.jetstream.checkpoints import CheckpointStore
from adapters.jetstream.source import JetStreamSource
from adapters.postgres.signed_marks import marks_of
from adapters.settings import Settings
from adapters.tlog.counting import accepted, counted, made_anew, refuse_another_streams
from adapters.tlog.state import LogState, log_state
from adapters.witness.client import parse_witnesses
from domain.errors import ConfigtrailError, NotVerified, StreamMismatch, Unavailable
from domain.tlog.checkpoint import checkpoint_in
from domain.tlog.names import LogNames
from projections.rows import Connection

SUBJECT = "signed log"


async def look_at_log(nc: Client, dsn: str, settings: Settings) -> list[Finding]:
    """How it stands; nothing where NATS or Postgres do not answer, which is told without it."""
    source = JetStreamSource(nc, nc.jetstream())
    try:
        names = LogNames(settings.log_name, await source.identity())
        head = await source.head()
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, APIError, Unavailable):
        return []
    except ConfigtrailError as error:
        return [Finding(SUBJECT, "wrong", str(error))]
    try:
        store = CheckpointStore(nc.jetstream())
        witnesses = parse_witnesses(settings.witnesses)
        key = _own_key(settings)
        if key is not None:
            signed = await _made_anew(connection, store, names, key)
        else:
            signed = await _perhaps_made_anew(connection, store, names)
        return _findings(await log_state(connection, store, names, head, witnesses), signed)
    except (APIError, Unavailable):
        return []
    except ConfigtrailError as error:
        return [Finding(SUBJECT, "wrong", str(error))]
    finally:
        await connection.close()


def _own_key(settings: Settings) -> SigningKey | None:
    """The log's key; None where it is not: the sealer may run elsewhere."""
    if settings.log_key is not None:
        return SigningKey.from_base64(settings.log_key.get_secret_value())
    if settings.signing_key_file.exists():
        return SigningKey.from_file(settings.signing_key_file)
    return None


async def _made_anew(
    connection: Connection, store: CheckpointStore, names: LogNames, key: SigningKey
) -> Finding | None:
    """That the stream was made anew since something was signed, and so nothing more is."""
    keys = (await accepted(store, names.base, key)).keys
    try:
        await refuse_another_streams(store, names, keys)
        for origin, mark in (await marks_of(connection, names.base)).items():
            if names.is_another_streams(origin):
                counted(mark, keys)
                raise made_anew(origin, names)
    except StreamMismatch as error:
        return Finding(SUBJECT, "wrong", str(error))
    return None


async def _perhaps_made_anew(
    connection: Connection, store: CheckpointStore, names: LogNames
) -> Finding | None:
    """That it may have been, by what looks as if the log's key had signed it: others can store such
    a thing, too."""
    marks = await marks_of(connection, names.base)
    for origin in (*await store.origins(), *marks):
        if names.is_another_streams(origin) and (
            origin in marks or await _has_checkpoint(store, origin)
        ):
            told = f"{origin} has checkpoints, and is the log of another stream than this"
            mend = (
                "run it again where the log's key is, which tells whether the key signed them: "
                "then the stream was made anew, and nothing more is signed"
            )
            return Finding(SUBJECT, "notice", told, mend)
    return None


async def _has_checkpoint(store: CheckpointStore, origin: str) -> bool:
    async with aclosing(store.each_of(origin)) as notes:
        async for one in notes:
            with suppress(NotVerified):
                if checkpoint_in(one.raw).origin == origin:
                    return True
    return False


def _findings(state: LogState, over_another: Finding | None) -> list[Finding]:
    found = [over_another or _signed(state)]
    if state.kept > state.head:
        told = f"{state.kept} events were signed, and the stream ends at {state.head}"
        mend = (
            "restore the streams; if what is missing is lost: configtrail audit accept-loss; see "
            "docs/audit.md"
        )
        found.append(Finding(SUBJECT, "wrong", told, mend))
    for witness in state.witnesses:
        subject = f"witness {witness.name}"
        if witness.outcome is None:
            told, mend = "was not asked yet", "start configtrail up"
            found.append(Finding(subject, "notice", told, mend))
        elif witness.outcome == "cosigned":
            found.append(Finding(subject, "fine", "cosigned all that it was asked for"))
        else:
            said = "refuses" if witness.outcome == "refused" else "can't be reached"
            logs = f"{witness.lacking} log{'' if witness.lacking == 1 else 's'}"
            told = f"{said}, for {logs} since {witness.since:%Y-%m-%d %H:%M:%SZ}: {witness.told}"
            mend = "look at it, and ask who runs it" + (
                "; a refusal may be of a fork" if witness.outcome == "refused" else ""
            )
            found.append(Finding(subject, "wrong", told, mend))
    return found


def _signed(state: LogState) -> Finding:
    if state.signed < state.head:
        told = f"signed up to {state.signed} of {state.head}"
        return Finding(SUBJECT, "notice", told, "it follows while configtrail up runs")
    return Finding(SUBJECT, "fine", f"signed up to {state.signed}")
