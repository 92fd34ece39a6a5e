"""The streams: made when absent, and refused when their live settings could lose history.

The server's deny flags don't protect against an update that sets an age or a limit, so the settings
that matter are compared at every start.
"""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.content_store import content_stream_config
from adapters.jetstream.dead_letters import dead_letters_stream_config
from domain.errors import StreamMisconfigured

INTAKE = "CONFIGTRAIL_INTAKE"
EVENTS = "CONFIGTRAIL_EVENTS"
INTAKE_SUBJECT = "config.snapshot.>"
UPLOAD_SUBJECT = "config.upload.>"
EVENTS_SUBJECT = "configtrail.>"

# What must never differ on a live stream; None and the server's "unlimited" are one.
_GUARDED = (
    "subjects",
    "retention",
    "discard",
    "max_msgs",
    "max_age",
    "max_msgs_per_subject",
    "deny_delete",
    "deny_purge",
)
_UNLIMITED = {None, -1, 0}


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


async def ensure_streams(js: JetStreamContext, *, replicas: int, intake_max_bytes: int) -> None:
    """Make absent streams; raise `StreamMisconfigured` for one whose settings lose history."""
    for config in (
        events_stream_config(),
        content_stream_config(),
        dead_letters_stream_config(),
        intake_stream_config(intake_max_bytes),
    ):
        await ensure_stream(js, config.evolve(num_replicas=replicas))


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
    for setting in _GUARDED:
        expected, got = getattr(wanted, setting), getattr(live, setting)
        same = expected == got or (_unlimited(expected) and _unlimited(got))
        if not same:
            raise StreamMisconfigured(wanted.name, setting, expected, got)


async def _create(js: JetStreamContext, wanted: StreamConfig) -> StreamConfig:
    try:
        return (await js.add_stream(wanted)).config
    except BadRequestError as error:
        if error.err_code != 10058:  # another program made it meanwhile, maybe with other settings
            raise
        assert wanted.name is not None
        return (await js.stream_info(wanted.name)).config


def _unlimited(value: object) -> bool:
    return not isinstance(value, list) and value in _UNLIMITED
