"""What every event says, and what several of them speak of."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

UtcDatetime: TypeAlias = Annotated[datetime, Meta(tz=True)]
ACTOR = re.compile(r"(?:user|service|system):\S.{0,199}\Z", re.DOTALL)


class ContentRef(Struct, frozen=True, kw_only=True, gc=False):
    """Where encrypted content lives: a sequence of the content stream, and what must be there.

    `commitment` is SHA-256(salt ‖ text) in hex; the 32-byte salt lies inside the encrypted blob.
    """

    sequence: int
    commitment: str


class SnapshotRef(Struct, frozen=True, kw_only=True, gc=False):
    """A snapshot named by another event, with its content: enough to compare the two."""

    snapshot_id: str
    content: ContentRef


class Fact(Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """What every event says: who did it. `actor` is `user:…`, `service:…` or `system:…`."""

    actor: str

    def __post_init__(self) -> None:
        _check_actor(self.actor)


# Few act, in many events: each is judged once.
@lru_cache(4_096)
def _check_actor(actor: str) -> None:
    if not ACTOR.match(actor):
        raise ValueError("actor must be user:<id>, service:<name> or system:<role>")
