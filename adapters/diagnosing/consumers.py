"""What is wrong with consumers: those of our roles, and what others left behind."""

from __future__ import annotations

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo
from nats.js.errors import NotFoundError

from adapters.diagnosing.finding import Finding
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.streams import EVENTS, INTAKE
from adapters.roles import differ, reaper, recorder
from adapters.settings import Settings
from domain.errors import told_setting

# So many messages at once that came again are no chance.
REDELIVERED = 10
# Not the time to acknowledge in: programs may be given different ones, and the last start counts.
_SETTINGS = ("filter_subject", "deliver_policy", "ack_policy", "max_ack_pending")


def wanted_consumers(settings: Settings) -> list[tuple[str, ConsumerConfig]]:
    """Streams, and the consumers on them that our roles share their work by."""
    seconds = settings.ack_wait_seconds
    return [
        (INTAKE, recorder.consumer_config(seconds)),
        (EVENTS, differ.consumer_config(seconds)),
        (EVENTS, reaper.consumer_config(seconds)),
    ]


async def look_at_consumers(nc: Client, settings: Settings) -> list[Finding]:
    """Ours, then those that nobody reads."""
    found: list[Finding] = []
    wanted = wanted_consumers(settings)
    for stream, config in wanted:
        assert config.durable_name is not None
        name = config.durable_name
        with outage_as_unavailable(f"looking at the consumer {name}"):
            try:
                info = await nc.jetstream().consumer_info(stream, name)
            except NotFoundError:
                told = "was never there"
                found.append(Finding(name, "notice", told, "start configtrail up"))
                continue
        found += _ours(name, config, info) or [Finding(name, "fine", _work(info))]
    ours = {config.durable_name for _, config in wanted}
    for stream in (INTAKE, EVENTS):
        for info in await _all_of(nc, stream):
            if info.name not in ours and info.config.durable_name:
                found += _others(stream, info)
    return found


async def _all_of(nc: Client, stream: str) -> list[ConsumerInfo]:
    found: list[ConsumerInfo] = []
    with outage_as_unavailable(f"listing the consumers of {stream}"):
        while True:
            try:
                page = await nc.jetstream().consumers_info(stream, offset=len(found))
            except NotFoundError:  # the stream is not there, and told so
                return found
            if not page:
                return found
            found += page


def _work(info: ConsumerInfo) -> str:
    return f"{info.num_pending or 0} wait, {info.num_ack_pending or 0} are under way"


def _ours(name: str, wanted: ConsumerConfig, info: ConsumerInfo) -> list[Finding]:
    found = []
    for setting in _SETTINGS:
        expected, got = getattr(wanted, setting), getattr(info.config, setting)
        if expected is not None and got != expected:
            told = f"its {setting} is {told_setting(got)}, and {told_setting(expected)} is wanted"
            mend = "the next start of configtrail up sets it right, or delete the consumer first"
            found.append(Finding(name, "wrong", told, mend))
    waiting, taken = info.num_pending or 0, info.num_ack_pending or 0
    again, limit = info.num_redelivered or 0, info.config.max_ack_pending or 0
    if (waiting or taken) and not info.num_waiting:
        told = f"{_work(info)}, and nobody works"
        found.append(Finding(name, "wrong", told, "start configtrail up"))
    elif limit > 0 and taken >= limit and waiting:
        seconds = info.config.ack_wait or 0
        told = (
            f"{_work(info)}: no more than {limit} are handed out, so it stands still; those of a "
            f"program that was killed come again within {seconds:g} s"
        )
        mend = "if it is so for longer, look at the log of configtrail up"
        found.append(Finding(name, "wrong", told, mend))
    if again >= REDELIVERED:
        told = f"{again} of its messages came again: work on them fails, or takes too long"
        found.append(Finding(name, "wrong", told, "look at the log of configtrail up"))
    return found


def _others(stream: str, info: ConsumerInfo) -> list[Finding]:
    if info.num_waiting or info.push_bound:
        return []
    waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
    acked = info.config.ack_policy != AckPolicy.NONE
    told = f"of {stream} is none of Configtrail's, and nobody reads it"
    if waiting:
        told += f"; {waiting} messages wait"
    mend = f"if its service is gone: nats consumer rm {stream} {info.name}" if acked else None
    return [Finding(f"consumer {info.name}", "notice", told, mend)]
