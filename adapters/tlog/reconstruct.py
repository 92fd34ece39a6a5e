"""`audit reconstruct`: the story that the stream tells, without any read model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import assert_never

import msgspec
from msgspec import Struct

from adapters.tlog.reader import StreamReader
from domain.device import History
from domain.envelope import StoredEvent
from domain.errors import NotFound
from domain.events import (
    AccessKeyCreated,
    AccessKeyRevoked,
    AccessRefused,
    CollectionFailed,
    CollectionRecovered,
    ContentExpired,
    ContentRevealed,
    ContentShredded,
    CredentialRemoved,
    CredentialSet,
    DeviceConfigured,
    DeviceRetired,
    DiffGenerated,
    DomainEvent,
    DuplicateSkipped,
    EventSkipped,
    GroupConfigured,
    GroupRemoved,
    HostKeyChanged,
    HostKeyPinned,
    HostKeyReleased,
    LegalHoldPlaced,
    LegalHoldReleased,
    ManualBackupFinished,
    ManualBackupTriggered,
    RetentionPolicySet,
    SnapshotCreated,
    SnapshotRecanonicalised,
)
from domain.retention import in_words
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.names import STREAM_LOG
from domain.tlog.note import parse_note


class Told(Struct, frozen=True):
    """One fact. `sealed`: it is under the last checkpoint of the stream's log, as leaf `index`."""

    stored: StoredEvent
    words: str
    index: int
    sealed: bool


class AsOf(Struct, frozen=True):
    """The configuration that held at a time. `text` was opened and is what its event committed
    to."""

    snapshot_id: str
    collected_at: datetime
    position: int
    commitment: str
    text: bytes


async def story(
    reader: StreamReader, tenant_id: str, device_id: str | None, until: datetime | None
) -> AsyncGenerator[Told, None]:
    """What happened, in the order of the stream, up to a time.

    Raises `StreamGap` when the stream, or the device's versions, have a gap.
    """
    stored_note = await reader.checkpoints.last(reader.names.origin(STREAM_LOG))
    sealed = 0
    if stored_note is not None:
        sealed = parse_checkpoint(parse_note(stored_note.raw).text).size
    async with aclosing(_events(reader, tenant_id, device_id)) as events:
        async for one in events:
            if until is None or one.occurred_at <= until:
                index = one.position - 1
                yield Told(one, words(one.event), index, one.position <= sealed)


async def as_of(
    reader: StreamReader, tenant_id: str, device_id: str, moment: datetime | None
) -> AsOf:
    """The device's configuration as of a time, None for the last one.

    Raises `NotFound`, and what the content store raises.
    """
    async with aclosing(reader.events.read_branch(tenant_id, device_id)) as branch:
        events = [one async for one in branch]
    if not events:
        raise NotFound("device", device_id)
    sightings = [
        one for one in History.of(events).sightings if moment is None or one.collected_at <= moment
    ]
    if not sightings:
        raise NotFound("configuration at", moment.isoformat() if moment else "any time")
    ref = sightings[-1].snapshot.ref
    created = next(
        one
        for one in events
        if isinstance(one.event, SnapshotCreated) and one.event.snapshot_id == ref.snapshot_id
    )
    text = await reader.content.get(tenant_id, device_id, "snapshot", ref.content)
    return AsOf(
        ref.snapshot_id, created.occurred_at, created.position, ref.content.commitment, text
    )


async def _events(
    reader: StreamReader, tenant_id: str, device_id: str | None
) -> AsyncGenerator[StoredEvent, None]:
    if device_id is not None:
        async with aclosing(reader.events.read_branch(tenant_id, device_id)) as branch:
            async for one in branch:
                yield one
        return
    async with aclosing(reader.events.read()) as batches:
        async for batch in batches:
            for one in batch:
                if one.tenant_id == tenant_id:
                    yield one


def words(event: DomainEvent) -> str:
    """A fact in words."""
    match event:
        case SnapshotCreated():
            late = ", which arrived late" if event.successor else ""
            return (
                f"a new configuration {event.snapshot_id[:8]} of {event.size_bytes} bytes was "
                f"seen ({event.source}, {event.completeness}{late})"
            )
        case DuplicateSkipped():
            return f"the configuration {event.snapshot_id[:8]} was confirmed ({event.source})"
        case DiffGenerated():
            return (
                f"{event.from_snapshot_id[:8]} to {event.to_snapshot_id[:8]}: "
                f"+{event.lines_added} -{event.lines_removed} lines"
            )
        case ManualBackupTriggered():
            why = f": {event.reason}" if event.reason else ""
            return f"a backup was asked for{why}"
        case ManualBackupFinished():
            why = f": {event.message}" if event.message else ""
            return f"the backup that was asked for ended: {event.outcome}{why}"
        case CollectionFailed():
            return f"the device could not be read: {event.kind}: {event.message}"
        case SnapshotRecanonicalised():
            return (
                f"the configuration {event.snapshot_id[:8]} got its fingerprint under the rules "
                f"{event.canonical}, after {event.previous_canonical}"
            )
        case CollectionRecovered():
            return f"the device can be read again, after {event.failures} failures ({event.kind})"
        case DeviceConfigured():
            return f"how the device is read was set: {', '.join(event.settings.addresses)}"
        case DeviceRetired():
            why = f": {event.reason}" if event.reason else ""
            return f"the device was taken out of the inventory{why}"
        case GroupConfigured():
            why = f": {event.reason}" if event.reason else ""
            given = ", ".join(msgspec.to_builtins(event.defaults)) or "nothing"
            return f"the group {event.group} gives its devices {given} from now on{why}"
        case GroupRemoved():
            why = f": {event.reason}" if event.reason else ""
            return f"the group {event.group} was removed{why}"
        case CredentialSet():
            why = f": {event.reason}" if event.reason else ""
            done = "rotated" if event.rotated else "set"
            return f"the credential store:{event.name} was {done} ({event.place}){why}"
        case CredentialRemoved():
            why = f": {event.reason}" if event.reason else ""
            return f"the credential store:{event.name} was removed{why}"
        case HostKeyPinned():
            return f"the device is trusted by its host key {event.fingerprint} from now on"
        case HostKeyChanged():
            return (
                f"the device showed the host key {event.fingerprint} in place of "
                f"{event.pinned_fingerprint}, and was not read"
            )
        case HostKeyReleased():
            return f"another host key of the device was allowed: {event.reason}"
        case ContentRevealed():
            what = "difference" if event.from_snapshot_id else "configuration"
            return f"the {what} {event.snapshot_id[:8]} was shown with the secrets in it"
        case AccessKeyCreated():
            return f"the API key {event.name} ({event.key_id}) was made: {event.role}"
        case AccessKeyRevoked():
            why = f": {event.reason}" if event.reason else ""
            return f"the API key {event.key_id} was revoked{why}"
        case AccessRefused():
            return f"{event.count} requests were refused: {event.reason}"
        case EventSkipped():
            return f"the read model {event.projection} goes on without event {event.position}"
        case RetentionPolicySet():
            why = f": {event.reason}" if event.reason else ""
            return f"what the tenant keeps was set: {in_words(event.policy)}{why}"
        case LegalHoldPlaced():
            return f"the legal hold {event.hold_id} was placed: {event.reason}"
        case LegalHoldReleased():
            return f"the legal hold {event.hold_id} was released: {event.reason}"
        case ContentExpired():
            return f"the text of {event.snapshot_id[:8]} expired: {event.reason}"
        case ContentShredded():
            return (
                f"all texts kept so far were erased, by their keys ({event.scope}): {event.reason}"
            )
        case _:
            assert_never(event)
