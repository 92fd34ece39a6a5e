"""A tenant's mirror of its branch of the log, in the tenant's own account."""

from __future__ import annotations

from nats.js import JetStreamContext
from nats.js.api import ExternalStream, StreamConfig, StreamSource
from nats.js.errors import NotFoundError

from adapters.accounts.configuration import MIRROR_API, deliver_prefix
from adapters.jetstream.connection import outage_as_unavailable
from adapters.jetstream.streams import EVENTS
from domain.errors import StreamMisconfigured
from domain.ids import to_token


def mirror_config(tenant_id: str) -> StreamConfig:
    """The mirror: the log's positions, times and headers, of one tenant."""
    return StreamConfig(
        name=EVENTS,
        mirror=StreamSource(
            name=EVENTS,
            filter_subject=f"configtrail.{to_token(tenant_id)}.>",
            external=ExternalStream(api=MIRROR_API, deliver=deliver_prefix(tenant_id)),
        ),
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
    )


async def ensure_mirror(js: JetStreamContext, tenant_id: str) -> bool:
    """Make the mirror when it is absent; returns whether it was made. `js` is of the tenant's
    `keeper`. Raises `StreamMisconfigured` when the account has another stream in its place."""
    wanted = mirror_config(tenant_id)
    with outage_as_unavailable("looking at the tenant's mirror"):
        try:
            live = (await js.stream_info(EVENTS)).config
        except NotFoundError:
            await js.add_stream(wanted)
            return True
    # The server hands back what the mirror is of, with defaults filled in.
    asked, found = wanted.mirror, live.mirror
    assert asked is not None
    if found is None or (found.name, found.filter_subject, found.external) != (
        asked.name,
        asked.filter_subject,
        asked.external,
    ):
        raise StreamMisconfigured(
            EVENTS,
            "mirror",
            asked.filter_subject,
            found.filter_subject if found else None,
            "remove the stream from the tenant's account, and run this again",
        )
    return False
