"""What verification works with: what was claimed of a log, and what was found to be wrong."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal[
    "altered",
    "missing",
    "inserted",
    "reordered",
    "truncated",
    "forked",
    "re-signed",
    "unwitnessed",
    "unsigned",
]
What: TypeAlias = Literal["event", "checkpoint", "audit row", "device history", "content"]


class Finding(Struct, frozen=True):
    """Something that is not as it was signed. `position` is in the stream of events, for
    checkpoints in their own stream (0: one that was given from outside)."""

    what: What
    kind: Kind
    position: int
    detail: str


class Claim(Struct, frozen=True):
    """A checkpoint whose signature holds: what was once said of a log. `sequence` is its note's."""

    log: str
    size: int
    root: bytes
    sequence: int


class Suspect(Struct, frozen=True):
    """Events from `first` to `last` of which one at least is not what `claim` was signed over.
    `claims` are all that speak of more than what holds, the smallest first."""

    first: int
    last: int
    claims: tuple[Claim, ...]

    @property
    def claim(self) -> Claim:
        """The smallest: the bad event is under it."""
        return self.claims[0]
