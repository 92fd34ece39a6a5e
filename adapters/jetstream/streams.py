"""The streams: made when absent, and refused when their live settings could lose history.

The server's deny flags don't protect against an update that sets an age or a limit, so the settings
that matter are compared at every start.
"""

from __future__ import annotations

from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import BadRequestError, NotFoundError

from adapters.jetstream.connection import missing_as_unavailable, outage_as_unavailable
from adapters.jetstream.content_store import content_stream_config
from adapters.jetstream.dead_letters import dead_letters_stream_config
from domain.errors import StreamMisconfigured

INTAKE = "CONFIGTRAIL_INTAKE"
EVENTS = "CONFIGTRAIL_EVENTS"
INTAKE_SUBJECT = "config.snapshot.>"
UPLOAD_SUBJECT = "config.upload.>"
EVENTS_SUBJECT = "configtrail.>"

# What must never differ on a live stream; None, False and the server's "unlimited" are one.
_GUARDED = (
    "subjects",
    "storage",
    "retention",
    "discard",
    "max_msgs",
    "max_age",
    "max_msgs_per_subject",
    "deny_delete",
    "deny_purge",
    "allow_direct",
    "allow_atomic",
    # A message with a roll-up header removes all before it.
    "allow_rollup_hdrs",
    # A message with a lifetime leaves by itself.
    "allow_msg_ttl",
    "sealed",
    "mirror",
    "sources",
    "subject_transform",
)
# What may be more, and never less.
_AT_LEAST = ("duplicate_window",)
# What the server does not change on a stream that is there.
_FIXED = ("storage", "retention", "mirror")
_UNLIMITED = {None, -1, 0}


class Difference(Struct, frozen=True):
    """A setting of a live stream that would lose or refuse what it must keep."""

    stream: str
    setting: str
    expected: object
    got: object

    @property
    def mendable(self) -> bool:
        """Whether an update of the stream can mend it."""
        return self.setting not in _FIXED


def differences(wanted: StreamConfig, live: StreamConfig) -> list[Difference]:
    """The settings of a live stream that break a rule."""
    assert wanted.name is not None
    found = []
    for setting in (*_GUARDED, *_AT_LEAST):
        expected, got = getattr(wanted, setting), getattr(live, setting)
        if setting in _AT_LEAST:
            same = (got or 0) >= (expected or 0)
        else:
            same = expected == got or (_unlimited(expected) and _unlimited(got))
        if not same:
            found.append(Difference(wanted.name, setting, expected, got))
    return found


def wanted_streams(replicas: int, intake_max_bytes: int) -> list[StreamConfig]:
    """Every stream, as it is made."""
    return [
        config.evolve(num_replicas=replicas)
        for config in (
            events_stream_config(),
            content_stream_config(),
            dead_letters_stream_config(),
            intake_stream_config(intake_max_bytes),
        )
    ]


async def mend_stream(js: JetStreamContext, wanted: StreamConfig) -> list[Difference]:
    """Set what breaks a rule back to what it must be; returns what was mended.

    What can't be changed on a stream that is there stays as it is. What such settings have dropped
    meanwhile does not come back.
    """
    assert wanted.name is not None
    with outage_as_unavailable(f"mending the stream {wanted.name}"):
        live = (await js.stream_info(wanted.name)).config
        found = [one for one in differences(wanted, live) if one.mendable]
        if found:
            await js.update_stream(live.evolve(**{one.setting: one.expected for one in found}))
    return found


def misconfigured(found: Difference) -> StreamMisconfigured:
    """The error for a difference, with what mends it."""
    mend = "run: configtrail doctor --mend"
    if not found.mendable:
        mend = "it can't be changed on a stream that is there: restore the stream from a copy"
    return StreamMisconfigured(found.stream, found.setting, found.expected, found.got, mend)


def events_stream_config() -> StreamConfig:
    """The log of facts."""
    return log_stream_config(EVENTS, EVENTS_SUBJECT)


def log_stream_config(name: str, subjects: str, replicas: int | None = None) -> StreamConfig:
    """A log: nothing ages, nothing is removed, a full stream refuses."""
    return StreamConfig(
        name=name,
        subjects=[subjects],
        num_replicas=replicas,
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
        allow_atomic=True,
        duplicate_window=120,
    )


def intake_stream_config(max_bytes: int) -> StreamConfig:
    """The work queue of observations: gone when acknowledged; when full it refuses."""
    return StreamConfig(
        name=INTAKE,
        subjects=[INTAKE_SUBJECT, UPLOAD_SUBJECT],
        storage=StorageType.FILE,
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        max_bytes=max_bytes,
        allow_direct=True,
        allow_msg_ttl=True,
        duplicate_window=120,
    )


async def ensure_streams(
    js: JetStreamContext, *, replicas: int, intake_max_bytes: int, create: bool = True
) -> None:
    """Make absent streams; raise `StreamMisconfigured` for one whose settings lose history.

    Streams with fewer replicas get more; none loses any by itself. Without `create` an absent one
    raises `StreamMissing`.
    """
    for config in wanted_streams(replicas, intake_max_bytes):
        assert config.name is not None
        with missing_as_unavailable(config.name):
            await ensure_stream(js, config, create=create)


async def ensure_stream(js: JetStreamContext, wanted: StreamConfig, *, create: bool = True) -> None:
    """Make the stream if it is absent; raise `StreamMisconfigured` if its settings lose history.

    Without `create` an absent one raises `NotFoundError`.
    """
    assert wanted.name is not None
    with outage_as_unavailable(f"looking at the stream {wanted.name}"):
        try:
            live = (await js.stream_info(wanted.name)).config
        except NotFoundError:
            if not create:
                raise
            live = await _create(js, wanted)
    for found in differences(wanted, live):
        raise misconfigured(found)
    await replicate(js, live, wanted.num_replicas or 1)


async def is_there(js: JetStreamContext, name: str) -> bool:
    """Whether a stream of that name is there."""
    return await _info(js, name) is not None


async def held_anything(js: JetStreamContext, name: str) -> bool:
    """Whether a stream of that name is there, and ever held a message."""
    found = await _info(js, name)
    return found is not None and found.state.last_seq > 0


async def _info(js: JetStreamContext, name: str) -> StreamInfo | None:
    with outage_as_unavailable(f"looking at the stream {name}"):
        try:
            return await js.stream_info(name)
        except NotFoundError:
            return None


async def replicate(js: JetStreamContext, live: StreamConfig, replicas: int) -> None:
    """Give a stream more copies, if it has fewer. It never loses any: that is for a person."""
    if (live.num_replicas or 1) < replicas:
        with outage_as_unavailable(f"replicating the stream {live.name}"):
            await js.update_stream(live.evolve(num_replicas=replicas))


async def _create(js: JetStreamContext, wanted: StreamConfig) -> StreamConfig:
    try:
        with outage_as_unavailable(f"making the stream {wanted.name}"):
            return (await js.add_stream(wanted)).config
    except BadRequestError as error:
        if error.err_code != 10058:  # another program made it meanwhile, maybe with other settings
            raise
        assert wanted.name is not None
        return (await js.stream_info(wanted.name)).config


def _unlimited(value: object) -> bool:
    return not isinstance(value, list) and value in _UNLIMITED
