"""What the signed log tells: how far it is signed, whether it was set back, and its witnesses."""

from __future__ import annotations

import asyncpg
from nats.aio.client import Client
from nats.js.errors import APIError

from adapters.diagnosing.finding import Finding
from adapters.jetstream.checkpoints import CheckpointStore
from adapters.jetstream.source import JetStreamSource
from adapters.postgres.signed_marks import marks_of
from adapters.settings import Settings
from adapters.tlog.counting import made_anew
from adapters.tlog.state import LogState, log_state
from adapters.witness.client import parse_witnesses
from domain.errors import ConfigtrailError, Unavailable
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
        signed = await _over_another_stream(connection, store, names)
        return _findings(await log_state(connection, store, names, head, witnesses), signed)
    except (APIError, Unavailable):
        return []
    except ConfigtrailError as error:
        return [Finding(SUBJECT, "wrong", str(error))]
    finally:
        await connection.close()


async def _over_another_stream(
    connection: Connection, store: CheckpointStore, names: LogNames
) -> Finding | None:
    """That the stream was made anew since something was signed, and so nothing more is."""
    for origin in (*await store.origins(), *await marks_of(connection, names.base)):
        if names.is_another_streams(origin):
            return Finding(SUBJECT, "wrong", str(made_anew(origin, names)))
    return None


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
