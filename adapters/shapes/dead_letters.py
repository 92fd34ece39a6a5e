"""A dead letter, as it is shown: never the message itself."""

from __future__ import annotations

from datetime import datetime

from adapters.jetstream.letter import DeadLetter
from adapters.shapes.out import Out


class DeadLetterOut(Out):
    """A message that could not be processed: from where, and which rule its `field` breaks."""

    sequence: int
    origin: str
    subject: str
    field: str
    rule: str
    received_at: datetime
    size_bytes: int
    tenant_id: str | None
    device_id: str | None


def letter_out(letter: DeadLetter) -> DeadLetterOut:
    """A letter as it is answered."""
    return DeadLetterOut(
        **{name: getattr(letter, name) for name in DeadLetterOut.__struct_fields__}
    )
