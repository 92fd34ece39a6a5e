"""`audit reconstruct`: the story that the stream tells, without any read model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import assert_never

import msgspec
from msgspec import Struct

from adapters.jetstream import wire
from adapters.jetstream.delivery import readable_or_not
from adapters.tlog.reader import StreamReader
from domain.device import History
from domain.errors import NotFound, StreamGap
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
from domain.tlog.checkpoint import checkpoint_in
from domain.tlog.names import STREAM_LOG
from projections.source import Delivered, Unreadable


class Told(Struct, frozen=True):
    """One fact, or an event that can't be read. `sealed`: it is under the last checkpoint of the
    stream's log, as leaf `index`."""

    stored: Delivered
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
    """What happened, in the order of the stream, up to a time. An event that can't be read is told
    of as that, at the time at which it was stored.

    Raises `StreamGap` when the stream, or the device's versions, have a gap.
    """
    stored_note = await reader.checkpoints.last(reader.names.origin(STREAM_LOG))
    sealed = 0
    if stored_note is not None:
        sealed = checkpoint_in(stored_note.raw).size
    async with aclosing(_events(reader, tenant_id, device_id)) as events:
        async for one in events:
            happened = one.stored_at if isinstance(one, Unreadable) else one.occurred_at
            if until is None or happened <= until:
                said = _unread(one) if isinstance(one, Unreadable) else words(one.event)
                yield Told(one, said, one.position - 1, one.position <= sealed)


async def as_of(
    reader: StreamReader, tenant_id: str, device_id: str, moment: datetime | None
) -> AsOf:
    """The device's configuration as of a time, None for the last one, as far as its events can be
    read.

    Raises `NotFound`, and what the content store raises.
    """
    async with aclosing(_branch(reader, tenant_id, device_id)) as branch:
        events = [one async for one in branch if not isinstance(one, Unreadable)]
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
) -> AsyncGenerator[Delivered, None]:
    if device_id is not None:
        async with aclosing(_branch(reader, tenant_id, device_id)) as branch:
            async for one in branch:
                yield one
        return
    end = await reader.source.head()
    if not end:
        return
    async with aclosing(reader.source.follow()) as batches:
        async for batch in batches:
            for one in batch:
                if one.tenant_id == tenant_id and one.position <= end:
                    yield one
            if batch[-1].position >= end:
                return


async def _branch(
    reader: StreamReader, tenant_id: str, device_id: str
) -> AsyncGenerator[Delivered, None]:
    """A device's events. One that can't be read may be one of its versions, or none."""
    subjects = wire.branch_filter(tenant_id, device_id)
    version = unread = 0
    async with aclosing(reader.branches.read(subjects)) as messages:
        async for raw in messages:
            one = readable_or_not(raw.subject, raw.headers, raw.body, raw.position, raw.stored_at)
            if isinstance(one, Unreadable):
                unread += 1
            elif version < one.version <= version + 1 + unread:
                version, unread = one.version, 0
            else:
                raise StreamGap(f"versions of {subjects}", version + 1, one.version)
            yield one


def _unread(one: Unreadable) -> str:
    return f"this event can't be read: {one.reason}"


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
