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
from projections.binary import EPOCH, NULL, row, text
from projections.rows import storable

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
_fixed = Struct(">hiqiqiqiq").pack
_size = Struct(">i").pack
_FIELDS = len(COLUMNS)
_KEPT = 32_768


def record(stored: StoredEvent) -> bytes:
    """The row of an event. Pure."""
    event = stored.event
    details = encode_event(event)
    occurred_at, event_id = stored.occurred_at, stored.event_id
    # A single character is looked for in a tenth of the time that several take.
    if (
        (b"\\" in details and rb"\u0000" in details)
        or "\x00" in event_id
        or occurred_at.tzinfo is None
    ):
        (values,) = write.fold([stored])
        return row([values[place] for place in _PLACES])
    tenant_id, device_id = stored.tenant_id, stored.device_id
    resource_type, resource_id = write.resource_of(event, tenant_id, device_id)
    own_id, resource = event_id.encode(), resource_id.encode()
    correlation_id, causation_id = stored.correlation_id, stored.causation_id
    # As `binary.microseconds`, which would be called twice a row.
    happened, kept = occurred_at - EPOCH, stored.stored_at - EPOCH
    return b"".join(
        (
            _fixed(
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
            _size(len(own_id)),
            own_id,
            _size(len(resource)),
            resource,
            NULL if correlation_id is None else _cause(correlation_id),
            NULL if causation_id is None else _cause(causation_id),
            _size(len(details)),
            details,
        )
    )


@lru_cache(_KEPT)
def _owner(tenant_id: str, device_id: str) -> bytes:
    return text(tenant_id) + text(device_id)


@lru_cache(_KEPT)
def _said(kind: type[Fact], resource_type: str, actor: str) -> bytes:
    return text(write.ACTIONS[kind]) + text(resource_type) + text(actor)


# Several events in a row have the same.
@lru_cache(1_024)
def _cause(told: str) -> bytes:
    return text(storable(told))
