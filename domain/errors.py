"""The one hierarchy of errors.

Every error carries its data as attributes and a message that names what is wrong and what to do.
Invariant: no message ever holds configuration text or a secret.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from domain.envelope import StoredEvent
    from domain.events import RefusalReason


_NAMED_MOST = 5
_UNAUTHENTICATED = {
    "no_credentials": "this needs credentials: Authorization: Bearer <API key or token>",
    "expired": "the credentials have expired",
    "revoked": "the API key was revoked",
}


class ConfigtrailError(Exception):
    """Base of everything that Configtrail raises on purpose. It can come from another process."""

    def __reduce__(self) -> tuple[object, ...]:
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(
    kind: type[ConfigtrailError], args: tuple[object, ...], data: dict[str, object]
) -> ConfigtrailError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(data)
    return error


class InvalidInput(ConfigtrailError):
    """Input from outside breaks a rule. `field` names the culprit, `rule` says what holds."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class NameTaken(InvalidInput):
    """A key that is in force has the name that another one was to have. `whose`: that key's
    tenant, in words."""

    def __init__(self, key_id: str, whose: str) -> None:
        super().__init__(
            "name",
            f"is that of the key {key_id} of {whose}, which is in force; revoke that one, or "
            "choose another name",
        )
        self.key_id = key_id
        self.whose = whose


class NotUnderstood(ConfigtrailError):
    """A line of a configuration is not in the form that its platform writes.

    `line` and `column` count from 1. `rule` says what must stand there.
    """

    def __init__(self, line: int, column: int, rule: str) -> None:
        super().__init__(f"line {line}, column {column}: {rule}")
        self.line = line
        self.column = column
        self.rule = rule


class NotRedactable(ConfigtrailError):
    """A text can't be shown without its secrets, because nobody knows where they are in it."""

    def __init__(self, platform: str) -> None:
        super().__init__(
            f"texts of the platform {platform!r} can't be redacted: where their secrets stand is "
            "not known; upload or collect this one once more with its platform: it is recorded "
            "anew, and that can be redacted; or ask for it as it is (--reveal, reveal=true), if "
            "you may see secrets"
        )
        self.platform = platform


class RedactionStopped(NotRedactable):
    """Finding the secrets of a text took too much `bound`, and was stopped."""

    def __init__(self, platform: str, bound: Literal["time", "memory"]) -> None:
        ConfigtrailError.__init__(
            self,
            f"this text can't be redacted: finding its secrets takes too much {bound}; whoever "
            "may see secrets can ask for it with them",
        )
        self.platform = platform
        self.bound = bound


class UnknownEventType(ConfigtrailError):
    """An event's type is not known to this version of the code."""

    def __init__(self, type_name: str, position: int) -> None:
        super().__init__(
            f"event {position} has the type {type_name!r}, which this version does not know; "
            "run a version of Configtrail that does"
        )
        self.type_name = type_name
        self.position = position


class MalformedEvent(ConfigtrailError):
    """A stored event can't be decoded: its headers or its body break the contract."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"event {position} can't be decoded: {reason}")
        self.position = position
        self.reason = reason


class FollowsMissing(MalformedEvent):
    """An event says something of what an earlier one of its device, with the id `event_id`, had
    made, and that is not there. Where that one was skipped, so is this."""

    def __init__(self, position: int, event_id: str, reason: str) -> None:
        super().__init__(position, reason)
        self.event_id = event_id


class EventsUnread(ConfigtrailError):
    """What is asked hangs on events that can't be read. `what` is that, `unread` names whose events
    they are, and why each can't be read; `way_out` is what else there is to do."""

    def __init__(self, what: str, unread: Mapping[str, str], way_out: str = "") -> None:
        names = list(unread)
        more = f" and {len(names) - _NAMED_MOST} more" if len(names) > _NAMED_MOST else ""
        super().__init__(
            f"{what} can't be told, since events of "
            f"{', '.join(names[:_NAMED_MOST])}{more} can't be read ({names[0]}: "
            f"{unread[names[0]]}); nothing was done: run a version of Configtrail that can read "
            f"them{way_out}"
        )
        self.what = what
        self.unread = dict(unread)


class AppendConflict(ConfigtrailError):
    """Somebody else appended to the device's branch first. `newer` holds their events."""

    def __init__(self, tenant_id: str, device_id: str, newer: Sequence[StoredEvent]) -> None:
        super().__init__(
            f"the history of {tenant_id}/{device_id} has {len(newer)} newer event(s); decide again"
        )
        self.tenant_id = tenant_id
        self.device_id = device_id
        self.newer = tuple(newer)


class BatchTooLarge(ConfigtrailError):
    """More events than one append can hold were to stand or fall together."""

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(f"{count} events are more than the {limit} that one append can hold")
        self.count = count
        self.limit = limit


class StreamGap(ConfigtrailError):
    """A position that must exist was not delivered: history has a hole."""

    def __init__(self, stream: str, expected: int, got: int) -> None:
        super().__init__(
            f"{stream}: expected position {expected} and got {got}; "
            "events are missing: restore the stream from a copy before going on"
        )
        self.stream = stream
        self.expected = expected
        self.got = got


class StreamMismatch(ConfigtrailError):
    """A checkpoint does not belong to this stream, or lies outside of it."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason


class NewerProjection(ConfigtrailError):
    """A read model's tables are of a newer version than this program has, or those are that a newer
    program has begun to build (`rebuild`)."""

    def __init__(self, projection: str, found: int, known: int, *, rebuild: bool = False) -> None:
        what = "those that are being built for it" if rebuild else "its tables"
        cancel = (
            f", or, if it was rolled back, configtrail projections rebuild {projection} --cancel"
        )
        todo = "run the newer program" + cancel * rebuild
        super().__init__(
            f"projection {projection}: {what} are of version {found}, and this program knows "
            f"version {known}; {todo}"
        )
        self.projection = projection
        self.found = found
        self.known = known


class TableChanged(ConfigtrailError):
    """A read model's table is not as it is made, so its rows can't be read as what they were."""

    def __init__(self, projection: str, found: str) -> None:
        super().__init__(
            f"projection {projection}: {found}: somebody changed it; build it anew: configtrail "
            f"projections rebuild {projection}"
        )
        self.projection = projection
        self.found = found


class PoisonEvent(ConfigtrailError):
    """A read model can't take an event in, and what it is doing allows no way around it."""

    def __init__(self, projection: str, position: int, reason: str) -> None:
        super().__init__(
            f"projection {projection}: event {position} can't be taken in: {reason}; run a version "
            "that can, or skip the event"
        )
        self.projection = projection
        self.position = position
        self.reason = reason


class ProjectionStopped(ConfigtrailError):
    """A read model can take in too little: that is no single event's fault. With the event at
    `position`, which is not parked, `devices` would have parked events: `in_a_row`, with nothing
    taken in between, or at all."""

    def __init__(
        self, projection: str, position: int, devices: int, reason: str, *, in_a_row: bool
    ) -> None:
        row, which = (" in a row", " right before it") if in_a_row else ("", "")
        super().__init__(
            f"projection {projection}: stopped before event {position}, which can't be taken in: "
            f"{reason}; with it {devices} devices{row} would have parked events, which is no "
            "single event's fault; run a version that can take them in, or, if it is the events, "
            f"skip some of those that are parked{which}: each makes room for one more "
            f"(configtrail projections parked list --projection {projection}, then parked skip)"
        )
        self.projection = projection
        self.position = position
        self.devices = devices
        self.reason = reason
        self.in_a_row = in_a_row


class EventsParked(ConfigtrailError):
    """Read models can't take in an event of this device that the caller asks to see."""

    def __init__(self, projections: Sequence[str], position: int) -> None:
        super().__init__(
            f"up to position {position} events of this device are parked: they are not in "
            f"{', '.join(projections)} until an operator retries or skips them "
            "(configtrail projections parked)"
        )
        self.projections = tuple(projections)
        self.position = position


def told_setting(value: object) -> str:
    """A setting as a person would write it."""
    if value is None:
        return "not set"
    return repr(value.value if isinstance(value, Enum) else value)


class StreamMisconfigured(ConfigtrailError):
    """A stream's live settings would lose or refuse what they must keep."""

    def __init__(
        self,
        stream: str,
        setting: str,
        expected: object,
        got: object,
        mend: str = "change it back before starting",
    ) -> None:
        super().__init__(
            f"stream {stream}: {setting} is {told_setting(got)} and must be "
            f"{told_setting(expected)}; {mend}"
        )
        self.stream = stream
        self.setting = setting
        self.expected = expected
        self.got = got


class ContentMissing(ConfigtrailError):
    """The content store does not hold what an event refers to."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"content {sequence} is not in the content store")
        self.sequence = sequence


class ContentGone(ContentMissing):
    """Content is not kept any more, as an event says: `how` is expired or shredded."""

    def __init__(self, sequence: int, how: str, at: datetime, position: int, reason: str) -> None:
        super().__init__(sequence)
        self.how = how
        self.at = at
        self.position = position
        self.reason = reason

    def __str__(self) -> str:
        how = "expired" if self.how == "expired" else f"was {self.how}"
        return (
            f"content {self.sequence} {how} at {self.at.isoformat(timespec='seconds')}, "
            f"as event {self.position} says: {self.reason}"
        )


class UnderLegalHold(ConfigtrailError):
    """What a legal hold keeps was to be removed."""

    def __init__(self, what: str, hold_id: str, reason: str) -> None:
        super().__init__(f"{what} is under the legal hold {hold_id}: {reason}")
        self.what = what
        self.hold_id = hold_id
        self.reason = reason


class ContentCorrupt(ConfigtrailError):
    """Stored content fails verification: altered, moved, or under another key."""

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(f"content {sequence} fails verification: {reason}")
        self.sequence = sequence
        self.reason = reason


class RowUnreadable(ConfigtrailError):
    """A row of the audit read model holds what the program never writes: somebody edited it."""

    def __init__(self, position: int | None, reason: str) -> None:
        which = "a row" if position is None else f"the row at position {position}"
        super().__init__(
            f"{which} of the audit read model can't be read: {reason}; configtrail audit verify "
            "names what was edited, configtrail projections rebuild audit makes the rows anew"
        )
        self.position = position
        self.reason = reason


class CommitmentMismatch(ContentCorrupt):
    """Stored content is sealed under another key than the one it was to be opened with."""

    def __init__(self, sequence: int) -> None:
        super().__init__(sequence, "it is sealed under another key, or its key's mark was altered")


class KeyUnavailable(ConfigtrailError):
    """A key that is needed can't be had: no master key, a wrong one, or a destroyed tenant key."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


class KeyDestroyed(KeyUnavailable):
    """A key was destroyed on purpose, and with it what was kept under it."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "an erasure destroyed them: nothing more is kept there")


class MasterKeyUnknown(KeyUnavailable):
    """A key is wrapped under a master key that this program was not given: others may have it."""

    # For whoever asked the program for something: how to mend it is for those who run it.
    told = "the program lacks the master key that keys are under; its log says what to do"


class NotFound(ConfigtrailError):
    """What was asked for does not exist (or not for this tenant)."""

    def __init__(self, kind: str, identifier: str) -> None:
        super().__init__(f"no {kind} {identifier!r}")
        self.kind = kind
        self.identifier = identifier


class Unauthenticated(ConfigtrailError):
    """Nobody knows who asks. `reason` is one of `domain.events.RefusalReason`; `key_id` and
    `tenant` say whose the key was, when it was one that is not accepted any more."""

    def __init__(
        self, reason: RefusalReason, *, key_id: str | None = None, tenant: str | None = None
    ) -> None:
        super().__init__(_UNAUTHENTICATED.get(reason, "the credentials are not accepted"))
        self.reason = reason
        self.key_id = key_id
        self.tenant = tenant


class Forbidden(ConfigtrailError):
    """Whoever asks may not do that."""

    def __init__(self, permission: str, tenant: str) -> None:
        what = "all tenants" if tenant == "*" else f"the tenant {tenant}"
        super().__init__(f"this needs the permission {permission!r} for {what}")
        self.permission = permission
        self.tenant = tenant


class TooManyRequests(ConfigtrailError):
    """Somebody asks more often than they may. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many requests; try again in {math.ceil(retry_after)} s")
        self.retry_after = retry_after


class BackupUnderWay(ConfigtrailError):
    """A backup of the device is running already."""

    def __init__(self, tenant_id: str, device_id: str) -> None:
        super().__init__(
            f"a backup of {tenant_id}/{device_id} is under way; try again when it ended, or "
            "join it (--join, join=true)"
        )
        self.tenant_id = tenant_id
        self.device_id = device_id


class BackupFailed(ConfigtrailError):
    """The collector could not back the device up. `reason` is in its words, cleaned and short."""

    def __init__(self, tenant_id: str, device_id: str, reason: str) -> None:
        super().__init__(f"the backup of {tenant_id}/{device_id} failed: {reason}")
        self.tenant_id = tenant_id
        self.device_id = device_id
        self.reason = reason


class BackupTimedOut(ConfigtrailError):
    """A backup of the device did not end in time. `reason` says what was still awaited."""

    def __init__(self, tenant_id: str, device_id: str, reason: str) -> None:
        super().__init__(f"the backup of {tenant_id}/{device_id} timed out: {reason}")
        self.tenant_id = tenant_id
        self.device_id = device_id
        self.reason = reason


class NotVerified(ConfigtrailError):
    """Something that is to prove itself does not: a signature, a checkpoint, a proof, a bundle."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} does not verify: {reason}")
        self.what = what
        self.reason = reason


class LogBroken(ConfigtrailError):
    """The stream no longer is what its signed checkpoints say: nothing may be signed over it."""

    def __init__(self, origin: str, size: int, reason: str, way_out: str = "") -> None:
        super().__init__(
            f"the log {origin} at size {size}: {reason}; nothing more is signed: "
            f"run `configtrail audit verify`, and restore the stream from a copy{way_out}"
        )
        self.origin = origin
        self.size = size
        self.reason = reason


class LeaseHeld(ConfigtrailError):
    """Somebody else holds the lease; since when, by their clock, where that is known."""

    def __init__(self, name: str, holder: str, began: datetime | None = None) -> None:
        self.name = name
        self.holder = holder
        self.since = "" if began is None else f" since {began.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        super().__init__(
            f"the lease {name} is held by {holder}{self.since}; it ends when they finish"
        )


class LeaseLost(ConfigtrailError):
    """A lease ended under its holder, whose work was stopped."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the lease {name} was lost: {reason}")
        self.name = name
        self.reason = reason


class Unavailable(ConfigtrailError):
    """A server that is needed does not answer. Waiting and trying again is right."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service} does not answer: {reason}")
        self.service = service
        self.reason = reason


class RowsHeld(Unavailable):
    """Others lock what a projection has to write to, and don't let go. `by` says who they are, and
    what can be done."""

    def __init__(self, projection: str, seconds: float, by: str) -> None:
        super().__init__(
            f"projection {projection}", f"its rows were locked by others for {seconds:g} s: {by}"
        )
        self.projection = projection
        self.by = by


class StreamMissing(Unavailable):
    """A stream that was there is not. It may come back, from a copy; whoever needs it waits."""

    def __init__(self, stream: str) -> None:
        reason = (
            "it is not there, so somebody deleted it; stop all programs and put it back from a "
            "copy (docs/operator.md, When something is gone)"
        )
        ConfigtrailError.__init__(self, f"{stream}: {reason}")
        self.service = stream
        self.reason = reason


class AccessRefused(ConfigtrailError):
    """A server answers, and refuses who asks. Waiting does not help."""

    def __init__(self, service: str, mend: str) -> None:
        super().__init__(f"{service} refuses the user or the password; {mend}")
        self.service = service
        self.mend = mend


class StreamFull(Unavailable):
    """A stream is full and takes nothing. What waits for it slows down, and nothing is lost."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"stream {stream}", "it is full and takes nothing")
        self.stream = stream

    def __str__(self) -> str:
        return f"the stream {self.stream} is full and takes nothing; raise its limits or make room"


class WorkStopped(ConfigtrailError):
    """A piece of work was stopped with the process that did it.

    `reason`: `time` and `memory` for bounds of its own, `killed` when something else ended it,
    or when its process did not start in time.
    """

    def __init__(self, reason: Literal["time", "memory", "killed"]) -> None:
        super().__init__(f"the work was stopped: {reason}")
        self.reason = reason
