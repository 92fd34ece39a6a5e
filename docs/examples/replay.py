"""Replays Configtrail's events with nats-py alone, and keeps what it makes of them in SQLite.

    python replay.py nats://user:password@127.0.0.1:4222 events.db [--follow]

It follows docs/contract/guide.md; the numbers in comments are that page's rules.
"""

import asyncio
import json
import sqlite3
import sys

import nats
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

STREAM = "CONFIGTRAIL_EVENTS"
KNOWN = {
    "configtrail.CollectionFailed.v1",
    "configtrail.CollectionRecovered.v1",
    "configtrail.ContentExpired.v1",
    "configtrail.ContentShredded.v1",
    "configtrail.CredentialRemoved.v1",
    "configtrail.CredentialSet.v1",
    "configtrail.DeviceConfigured.v1",
    "configtrail.DeviceRetired.v1",
    "configtrail.DiffGenerated.v1",
    "configtrail.DuplicateSkipped.v1",
    "configtrail.EventSkipped.v1",
    "configtrail.GroupConfigured.v1",
    "configtrail.GroupRemoved.v1",
    "configtrail.HostKeyChanged.v1",
    "configtrail.HostKeyPinned.v1",
    "configtrail.HostKeyReleased.v1",
    "configtrail.ContentRevealed.v1",
    "configtrail.AccessKeyCreated.v1",
    "configtrail.AccessKeyRevoked.v1",
    "configtrail.AccessRefused.v1",
    "configtrail.LegalHoldPlaced.v1",
    "configtrail.LegalHoldReleased.v1",
    "configtrail.ManualBackupFinished.v1",
    "configtrail.ManualBackupFinished.v2",
    "configtrail.ManualBackupTriggered.v1",
    "configtrail.RetentionPolicySet.v1",
    "configtrail.SnapshotCreated.v1",
    "configtrail.SnapshotRecanonicalised.v1",
}
TABLES = """
CREATE TABLE IF NOT EXISTS checkpoint (stream TEXT, created TEXT, position INTEGER);
CREATE TABLE IF NOT EXISTS device (
    tenant TEXT, device TEXT, snapshots INTEGER DEFAULT 0, failures INTEGER DEFAULT 0,
    PRIMARY KEY (tenant, device)
);
"""


def checkpoint(db, created, head):
    """Rule 4: the position after which to go on, refused when it is of another stream."""
    found = db.execute("SELECT created, position FROM checkpoint").fetchone()
    if found is None:
        db.execute("INSERT INTO checkpoint VALUES (?, ?, 0)", (STREAM, created))
        return 0
    if found[0] != created or found[1] > head:
        sys.exit(
            f"the checkpoint is of another {STREAM}, or of a later state: look before going on"
        )
    return found[1]


def apply(db, subject, headers, body):
    """What this service makes of an event. Rule 7: unknown fields are simply not looked at."""
    if headers["ce-type"] not in KNOWN:
        sys.exit(f"the type {headers['ce-type']} is new: it may matter, so stop")
    _, tenant, device, name = subject.split(".")  # ids with =XX; rule 2
    column = {"SnapshotCreated": "snapshots", "CollectionFailed": "failures"}.get(name)
    if column:
        # Only these are about devices: others may be about a tenant, or about nobody's.
        db.execute("INSERT OR IGNORE INTO device (tenant, device) VALUES (?, ?)", (tenant, device))
        db.execute(
            f"UPDATE device SET {column} = {column} + 1 WHERE tenant = ? AND device = ?",
            (tenant, device),
        )
    told = (headers["ce-time"], tenant, device, headers["ce-sequence"], name, body["actor"])
    print(*told, flush=True)


async def read(js, db, follow):
    """Reads from the position on, through one consumer. Returns the position at the end; raises an
    error of nats-py when the flow breaks off."""
    info = await js.stream_info(STREAM)
    position = checkpoint(db, info.created.isoformat(), info.state.last_seq)
    # Rule 1: a pull consumer without acknowledgements, from our own position on.
    consumer = await js.add_consumer(
        STREAM,
        ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=position + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=60,
            mem_storage=True,
        ),
    )
    pull = await js.pull_subscribe_bind(consumer=consumer.name, stream=STREAM)
    pending = consumer.num_pending
    while pending or follow:
        try:
            messages = await pull.fetch(500, timeout=5)
        except NatsTimeout:
            # Rule 8: nothing new, or the consumer vanished with a restart of the server: ask.
            await js.consumer_info(STREAM, consumer.name)
            continue
        db.execute("BEGIN")
        for msg in messages:
            meta = msg.metadata
            if meta.sequence.stream != position + 1:  # rule 3: a gap is an error
                sys.exit(f"position {position + 1} is missing: begin again, and if it stays, stop")
            position = meta.sequence.stream
            apply(db, msg.subject, msg.headers, json.loads(msg.data))
        # Rule 5: effect and position in one transaction, so that each event counts once.
        db.execute("UPDATE checkpoint SET position = ?", (position,))
        db.execute("COMMIT")
        pending = messages[-1].metadata.num_pending  # rule 8: 0 is the end as of now
    return position


async def main(url, path, follow):
    nc = await nats.connect(url, max_reconnect_attempts=-1 if follow else 10)
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(TABLES)
    while True:
        try:
            position = await read(nc.jetstream(), db, follow)
            break
        except NatsError as error:
            if not follow:
                raise
            # What was not committed comes again: a new consumer begins at the kept position.
            print(f"{type(error).__name__}: trying again", file=sys.stderr)
            await asyncio.sleep(0.5)
    print(f"up to position {position}", file=sys.stderr)
    db.close()
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], "--follow" in sys.argv))
