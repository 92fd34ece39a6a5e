"""What a dead letter says in the clear: its headers, written and read."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote

from msgspec import Struct

from domain.errors import ContentCorrupt
from domain.ids import from_token, to_token

PREFIX: Final = "configtrail-deadletters."
COMMITMENT: Final = "Configtrail-Commitment"
_SUBJECT: Final = "Configtrail-Subject"
_FIELD: Final = "Configtrail-Field"
_RULE: Final = "Configtrail-Rule"
_RECEIVED: Final = "Configtrail-Received"
_SIZE: Final = "Configtrail-Size"
_TENANT: Final = "Configtrail-Tenant"
_DEVICE: Final = "Configtrail-Device"
_LETTER: Final = "Configtrail-Letter"
_RULE_MAX: Final = 1000


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A message that could not be processed, without its bytes.

    `origin` is who could not process it, `subject` where it was published, `field` and `rule` why,
    `size_bytes` the length of its body, `letter_id` what its origin calls it.
    """

    sequence: int
    origin: str
    subject: str
    field: str
    rule: str
    received_at: datetime
    size_bytes: int
    tenant_id: str | None = None
    device_id: str | None = None
    letter_id: str | None = None


def subject_of(origin: str) -> str:
    """Where the letters of an origin lie."""
    return PREFIX + to_token(origin)


def origin_of(subject: str) -> str:
    """Whose letters lie on a subject."""
    return from_token(subject.removeprefix(PREFIX))


def to_headers(
    *,
    subject: str,
    field: str,
    rule: str,
    received_at: datetime,
    size_bytes: int,
    commitment: str,
    tenant_id: str | None,
    device_id: str | None,
    letter_id: str | None,
) -> dict[str, str]:
    """A letter's headers; values percent-encoded, since they may come from anybody."""
    told = {
        _SUBJECT: subject,
        _FIELD: field,
        _RULE: rule[:_RULE_MAX],
        _RECEIVED: received_at.isoformat(),
        _SIZE: str(size_bytes),
        COMMITMENT: commitment,
        _TENANT: tenant_id,
        _DEVICE: device_id,
        _LETTER: letter_id,
    }
    return {name: quote(value, safe="/:+") for name, value in told.items() if value is not None}


def from_headers(sequence: int, subject: str, headers: dict[str, str]) -> DeadLetter:
    """The letter that a message is. Raises `ContentCorrupt`."""
    told = {name: unquote(value) for name, value in headers.items()}
    try:
        return DeadLetter(
            sequence=sequence,
            origin=origin_of(subject),
            subject=told[_SUBJECT],
            field=told[_FIELD],
            rule=told[_RULE],
            received_at=datetime.fromisoformat(told[_RECEIVED]),
            size_bytes=int(told[_SIZE]),
            tenant_id=told.get(_TENANT),
            device_id=told.get(_DEVICE),
            letter_id=told.get(_LETTER),
        )
    except (KeyError, ValueError) as error:
        raise ContentCorrupt(sequence, "its headers are not those of a dead letter") from error
