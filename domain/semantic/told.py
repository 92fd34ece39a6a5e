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

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of its risks, each once: there may be several reasons for one."""
        return tuple(dict.fromkeys(risk.tag for risk in self.risks))


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

    @property
    def shown(self) -> tuple[ToldChange, ...]:
        """The changes that are for people to read: those that the policy does not ignore."""
        return tuple(one for one in self.changes if one.level != "ignore")

    @property
    def not_shown(self) -> tuple[str, ...]:
        """Of which changes people only learn how many there are, in words."""
        ignored = len(self.changes) - len(self.shown)
        found = []
        if ignored:
            found.append(f"{changes_counted(ignored)} that the tenant's policy ignores")
        if self.more:
            found.append(f"{changes_counted(self.more)} more, not told one by one")
        return tuple(found)


def changes_counted(number: int) -> str:
    """So many changes, in words."""
    return f"{number} change{'s' * (number != 1)}"


_decoder = msgspec.json.Decoder(ToldDiff)


def encode(told: ToldDiff) -> bytes:
    """The difference as JSON, to be kept as content."""
    return msgspec.json.encode(told)


def decode(content: bytes) -> ToldDiff:
    """What `encode` made; raises `msgspec.DecodeError` or a subclass for anything else."""
    return _decoder.decode(content)
