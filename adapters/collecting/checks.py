"""What everything that changes the inventory is asked for: who does it, and why."""

from __future__ import annotations

from typing import Final

from domain.errors import InvalidInput
from domain.events import ACTOR

REASON_MAX: Final = 500


def check_actor(actor: str) -> None:
    """Raise `InvalidInput` unless somebody is named."""
    if not ACTOR.match(actor):
        raise InvalidInput("actor", "must be user:<id>, service:<name> or system:<role>")


def check_reason(reason: str | None) -> None:
    """Raise `InvalidInput` when it can't stand in the audit trail."""
    if reason is not None and (len(reason) > REASON_MAX or not reason.isprintable()):
        raise InvalidInput("reason", f"must be printable and at most {REASON_MAX} characters")
