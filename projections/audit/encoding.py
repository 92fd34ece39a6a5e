"""The rows of `audit` in the form in which they are copied, made of the events in one step.

Equal to the binary form of the rows that `write.fold` gives. What many rows have in common (whose
device it is, what was done and by whom) is encoded once.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from domain.envelope import StoredEvent
from domain.events import Fact, encode_event
from projections.audit import write
from projections.binary import EPOCH, row, text

# What has one size stands first, then what has few values.
COLUMNS = (
    "position",
    "version",
    "occurred_at",
    "stored_at",
    "tenant_id",
    "device_id",
    "action",
    "resource_type",
    "actor",
    "event_id",
    "resource_id",
    "correlation_id",
    "causation_id",
    "details",
)
_PLACES = [write.COLUMNS.index(name) for name in COLUMNS]
_FIXED = Struct(">hiqiqiqiq").pack
_FIELDS = len(COLUMNS)
_KEPT = 32_768


def record(stored: StoredEvent) -> bytes:
    """The row of an event. Pure."""
    event = stored.event
    details = encode_event(event)
    if stored.occurred_at.tzinfo is None or write.holds_nul(stored, details):
        (values,) = write.fold([stored])
        return row([values[place] for place in _PLACES])
    tenant_id, device_id = stored.tenant_id, stored.device_id
    resource_type, resource_id = write.resource_of(event, tenant_id, device_id)
    event_id, resource = stored.event_id.encode(), resource_id.encode()
    # As `binary.microseconds`, which would be called twice a row.
    happened, kept = stored.occurred_at - EPOCH, stored.stored_at - EPOCH
    return b"".join(
        (
            _FIXED(
                _FIELDS,
                8,
                stored.position,
                8,
                stored.version,
                8,
                (happened.days * 86_400 + happened.seconds) * 1_000_000 + happened.microseconds,
                8,
                (kept.days * 86_400 + kept.seconds) * 1_000_000 + kept.microseconds,
            ),
            _owner(tenant_id, device_id),
            _said(type(event), resource_type, event.actor),
            len(event_id).to_bytes(4, "big"),
            event_id,
            len(resource).to_bytes(4, "big"),
            resource,
            _cause(stored.correlation_id),
            _cause(stored.causation_id),
            len(details).to_bytes(4, "big"),
            details,
        )
    )


@lru_cache(_KEPT)
def _owner(tenant_id: str, device_id: str) -> bytes:
    return text(tenant_id) + text(device_id)


@lru_cache(_KEPT)
def _said(kind: type[Fact], resource_type: str, actor: str) -> bytes:
    return text(write.ACTIONS[kind]) + text(resource_type) + text(actor)


# Mostly there is none, or several events have the same.
_cause = lru_cache(1_024)(text)
