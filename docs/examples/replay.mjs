// Replays Configtrail's events with the official JavaScript client, and keeps its position in a file.
//
//     npm install @nats-io/transport-node@3 @nats-io/jetstream@3
//     node replay.mjs nats://user:password@127.0.0.1:4222 position.json [--follow]
//
// It follows docs/contract/guide.md; the numbers in comments are that page's rules.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { connect } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";

const STREAM = "CONFIGTRAIL_EVENTS";
const KNOWN = new Set([
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
]);

const [url, file, ...flags] = process.argv.slice(2);
const follow = flags.includes("--follow");

function stop(reason) {
  console.error(reason);
  process.exit(1);
}

const address = new URL(url);
const nc = await connect({
  servers: `${address.hostname}:${address.port}`,
  user: decodeURIComponent(address.username),
  pass: decodeURIComponent(address.password),
  maxReconnectAttempts: follow ? -1 : 10,
});
const jsm = await jetstreamManager(nc);

// Rule 4: a checkpoint belongs to one stream, by name and creation time.
let kept = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null;
let position = kept?.position ?? 0;

function keep() {
  // Rule 5: what was printed is done. A service keeps this in the transaction of its effects.
  kept = { stream: STREAM, created: kept.created, position };
  writeFileSync(`${file}.new`, JSON.stringify(kept));
  renameSync(`${file}.new`, file);
}

// Reads from the position on, through one consumer. True at the end; false when the flow broke off.
async function pass() {
  const stream = await jsm.streams.info(STREAM);
  kept ??= { stream: STREAM, created: stream.created, position };
  if (kept.created !== stream.created || position > stream.state.last_seq) {
    stop(`the checkpoint is of another ${STREAM}, or of a later state: look at that first`);
  }
  // Rule 1: a pull consumer made by ourselves. `consumers.get(STREAM)` without a name is an ordered one.
  const made = await jsm.consumers.add(STREAM, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: position + 1,
    ack_policy: AckPolicy.None,
    inactive_threshold: 60_000_000_000,
    mem_storage: true,
  });
  if (made.num_pending === 0 && !follow) return true;
  const consumer = await jetstream(nc).consumers.get(STREAM, made.name);
  const messages = await consumer.consume({ max_messages: 500, idle_heartbeat: 1_000 });
  // Rule 8: a consumer may vanish (the server restarts). Silence says so: then make another one.
  (async () => {
    for await (const told of messages.status()) {
      const gone = ["heartbeats_missed", "consumer_not_found", "consumer_deleted", "no_responders"];
      if (gone.includes(told.type)) messages.stop();
    }
  })();
  let first = true;
  for await (const msg of messages) {
    // Rule 3: without a filter positions are contiguous. A gap on the way: begin again from here.
    if (msg.seq !== position + 1) {
      if (first) stop(`position ${position + 1} is missing`);
      messages.stop();
      return false;
    }
    first = false;
    const type = msg.headers.get("ce-type");
    if (!KNOWN.has(type)) stop(`the type ${type} is new: it may matter, so stop`);
    const body = msg.json(); // rule 7: unknown fields are simply not looked at
    console.log(
      [msg.headers.get("ce-time"), ...msg.subject.split(".").slice(1), body.actor].join(" "),
    );
    position = msg.seq;
    const end = msg.info.pending === 0; // rule 8: the end as of now
    if (end || position % 500 === 0) keep();
    if (end && !follow) return true;
  }
  return false;
}

for (;;) {
  try {
    if (await pass()) break;
  } catch (error) {
    if (!follow) throw error;
    console.error(`${error.name}: trying again`);
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
}
console.error(`up to position ${position}`);
await nc.close();
