"""What is wrong with streams and buckets: their settings, holes, limits, copies."""

from __future__ import annotations

from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import NotFoundError

from adapters.access.keys import BUCKET as KEY_USE
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.diagnosing.finding import Finding
from adapters.jetstream.checkpoints import CHECKPOINTS, checkpoints_stream_config
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.dead_letters import DEAD_LETTERS
from adapters.jetstream.key_store import BUCKET as KEYS
from adapters.jetstream.key_store import device_keys_config
from adapters.jetstream.leases import BUCKET as LEASES
from adapters.jetstream.streams import EVENTS, differences, misconfigured, wanted_streams
from adapters.retention.removing import BUCKET as RETENTION
from adapters.settings import Settings
from adapters.uploading import KEPT_SECONDS as UPLOADS_KEPT_SECONDS
from adapters.uploading import KEYS as UPLOADS
from domain.errors import StreamMisconfigured

FULL_SHARE = 0.8
FULL = 0.98
# Those that whoever needs them makes.
_MADE_AGAIN = (SCHEDULE, LEASES, KEY_USE, RETENTION, UPLOADS)
BUCKETS = (KEYS, CREDENTIALS, *_MADE_AGAIN)
# For how many seconds the values are kept of those that forget.
_KEPT_SECONDS = {UPLOADS: UPLOADS_KEPT_SECONDS}
# Logs of which nothing may be missing.
_WHOLE = (EVENTS, CHECKPOINTS)


def looked_after(settings: Settings) -> list[StreamConfig]:
    """Every stream, as it is made."""
    replicas = settings.stream_replicas
    return [
        *wanted_streams(replicas, settings.intake_max_bytes),
        checkpoints_stream_config(replicas),
        device_keys_config(replicas),
    ]


async def look_at_streams(nc: Client, settings: Settings) -> list[Finding]:
    """All streams, then all buckets."""
    found: list[Finding] = []
    all_wanted = looked_after(settings)
    names = [one.name or "" for one in all_wanted] + [f"KV_{one}" for one in BUCKETS]
    infos = {name: await _info(nc, name) for name in names}
    begun = any(one is not None and one.state.last_seq for one in infos.values())
    for wanted in all_wanted:
        assert wanted.name is not None
        info = infos[wanted.name]
        if info is None:
            found.append(_absent(wanted.name, begun))
            continue
        wrong = [
            Finding(wanted.name, "wrong", str(misconfigured(one)))
            for one in differences(wanted, info.config)
        ]
        wrong += _state(wanted.name, info, settings.stream_replicas)
        found += wrong or [Finding(wanted.name, "fine", _size(info))]
    for bucket in BUCKETS:
        info = infos[f"KV_{bucket}"]
        if info is None:
            found.append(_absent(f"bucket {bucket}", begun and bucket not in _MADE_AGAIN))
            continue
        wrong = [Finding(f"bucket {bucket}", "wrong", told) for told in _forgets(bucket, info)]
        wrong += _copies(f"bucket {bucket}", info, settings.stream_replicas)
        plural = "" if info.state.messages == 1 else "s"
        told = f"{info.state.messages} value{plural}"
        found += wrong or [Finding(f"bucket {bucket}", "fine", told)]
    return found


async def _info(nc: Client, name: str) -> StreamInfo | None:
    with outage_as_unavailable(f"looking at the stream {name}"):
        try:
            return await nc.jetstream().stream_info(name)
        except NotFoundError:
            return None


def _absent(name: str, lost: bool) -> Finding:
    """`lost`: others hold something, so it was there too."""
    if not lost:
        return Finding(name, "notice", "is not there yet", "start configtrail up")
    return Finding(
        name,
        "wrong",
        "is not there: somebody deleted it, or no program that has it was started yet",
        "put it back from a copy; after an upgrade start configtrail up (docs/operator.md)",
    )


def _size(info: StreamInfo) -> str:
    state = info.state
    plural = "" if state.messages == 1 else "s"
    return f"{state.messages} message{plural}, {state.bytes / 1e6:.1f} MB"


def _state(name: str, info: StreamInfo, replicas: int) -> list[Finding]:
    state, limit, told = info.state, info.config.max_bytes or 0, _size(info)
    found: list[Finding] = []
    if name in _WHOLE and state.messages != state.last_seq:
        found.append(
            Finding(
                name,
                "wrong",
                f"has {state.messages} messages and ends at {state.last_seq}: history has holes",
                "stop writing, and restore the stream from a copy",
            )
        )
    if name == DEAD_LETTERS and state.messages:
        found.append(Finding(name, "notice", told, "configtrail deadletters shows them"))
    if limit > 0 and state.bytes > FULL_SHARE * limit:
        found.append(
            Finding(
                name,
                "wrong" if state.bytes > FULL * limit else "notice",
                f"{told}: {100 * state.bytes / limit:.0f} % of its limit",
                "raise its limit, or let what reads it catch up; when full it refuses",
            )
        )
    return found + _copies(name, info, replicas)


def _copies(name: str, info: StreamInfo, replicas: int) -> list[Finding]:
    cluster = info.cluster
    found: list[Finding] = []
    if cluster is not None and (cluster.replicas or replicas > 1):
        behind = [peer.name for peer in cluster.replicas or () if not peer.current]
        if cluster.leader is None:
            found.append(Finding(name, "wrong", "has no leader", "start the other servers"))
        if behind:
            told = f"the copies on {', '.join(map(str, behind))} are behind or away"
            found.append(Finding(name, "wrong", told, "look at those servers"))
    if (info.config.num_replicas or 1) < replicas:
        told = f"has {info.config.num_replicas or 1} copies, and {replicas} are set"
        found.append(Finding(name, "notice", told, "the next start of configtrail up makes more"))
    return found


def _forgets(bucket: str, info: StreamInfo) -> list[str]:
    """What would make a bucket lose values that nobody removed."""
    live = info.config
    rules: tuple[tuple[str, object, object], ...] = (
        ("subjects", [f"$KV.{bucket}.>"], live.subjects),
        ("storage", StorageType.FILE, live.storage),
        ("discard", DiscardPolicy.NEW, live.discard),
        ("max_age", _KEPT_SECONDS.get(bucket), live.max_age or None),
        ("max_msgs", None, None if (live.max_msgs or -1) < 0 else live.max_msgs),
    )
    return [
        str(StreamMisconfigured(f"KV_{bucket}", setting, wanted, got))
        for setting, wanted, got in rules
        if wanted != got
    ]
