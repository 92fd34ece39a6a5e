"""A difference as it is told: sentences, and the same for machines. Secrets are redacted.

Still configuration text: it is kept encrypted, beside the unified diff, and shown to who may read
the configuration. What of it may be in an event says `domain.semantic.summary`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from domain.semantic.changes import ChangeKind

Level: TypeAlias = Literal["report", "low", "ignore"]


class Risk(Struct, frozen=True):
    """Why a change deserves a look: a tag such as `input-chain`, and the reason in words."""

    tag: str
    reason: str


class ToldProperty(Struct, frozen=True, omit_defaults=True):
    """A property that changed. For a set `gone` and `new` are its members that differ.

    `before` and `after` are None where the entry does not have it.
    """

    name: str
    before: str | None = None
    after: str | None = None
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


class ToldChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of one entry.

    `entry` is what it is called, empty for settings of a whole menu. Positions count from 1, in
    menus whose order is configuration.
    """

    section: str
    kind: ChangeKind
    sentence: str
    entry: str = ""
    properties: tuple[ToldProperty, ...] = ()
    position_before: int | None = None
    position_after: int | None = None
    risks: tuple[Risk, ...] = ()
    level: Level = "report"
    after_upgrade: bool = False


class ToldDiff(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All changes that are told; `more` counts those beyond the bound, which are not.

    `notes` say what is not told as a change: lines that are only written differently, lines that
    were not understood, sections that an incomplete export says too little of. `upgrade` names the
    versions before and after, where they differ.
    """

    changes: tuple[ToldChange, ...] = ()
    notes: tuple[str, ...] = ()
    more: int = 0
    upgrade: str | None = None


_decoder = msgspec.json.Decoder(ToldDiff)


def encode(told: ToldDiff) -> bytes:
    """The difference as JSON, to be kept as content."""
    return msgspec.json.encode(told)


def decode(content: bytes) -> ToldDiff:
    """What `encode` made; raises `msgspec.DecodeError` or a subclass for anything else."""
    return _decoder.decode(content)
