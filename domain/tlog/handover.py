"""Handing a deployment's logs over from one signing key to the next.

A hand-over is a note under the deployment's name, signed by both keys: the old one says who speaks
from now on, the new one that it is there. It stands among the checkpoints, as a log of its own:

    configtrail/key-handover@v1
    <deployment>
    <verifier key of the old key>
    <verifier key of the new key>

Whoever trusts one of the keys can follow the chain, back and forth. From its hand-over on, what an
old key signs counts no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from domain.errors import NotVerified
from domain.tlog.note import ED25519, Check, VerifierKey, parse_note, verified

_KIND = "configtrail/key-handover@v1"


class HandOver(Struct, frozen=True):
    """From `old` to `new`, both public keys; `sequence` is its note's."""

    old: bytes
    new: bytes
    sequence: int = 0


def handover_origin(base: str) -> str:
    """Under which name a deployment's hand-overs stand among the checkpoints."""
    return f"{base}/keys"


def handover_text(base: str, old: bytes, new: bytes) -> str:
    """The text that both keys sign."""
    return f"{_KIND}\n{base}\n{VerifierKey(base, old)}\n{VerifierKey(base, new)}\n"


def parse_handover(base: str, raw: bytes, check: Check, sequence: int = 0) -> HandOver:
    """The hand-over in a note, signed by both. Raises `NotVerified`."""
    note = parse_note(raw)
    lines = note.text.split("\n")
    if len(lines) != 5 or lines[:2] != [_KIND, base] or lines[4]:
        raise NotVerified("the hand-over", f"it is none of {base}")
    keys = [VerifierKey.parse(line) for line in lines[2:4]]
    if any(key.name != base or key.kind != ED25519 for key in keys):
        raise NotVerified("the hand-over", "its keys are not the deployment's")
    if len(verified(note, keys, check)) != 2:
        raise NotVerified("the hand-over", "it is not signed by both keys")
    return HandOver(keys[0].public, keys[1].public, sequence)


class Trust:
    """Which keys may speak for a deployment's logs at which place among the checkpoints."""

    def __init__(self, trusted: Sequence[bytes], handovers: Iterable[HandOver]) -> None:
        self._begins: dict[bytes, int] = {}
        self._ends: dict[bytes, int] = {}
        self.refused: list[HandOver] = []
        # Keys that nobody gave: those that were trusted handed over to them.
        self.led_to: list[bytes] = []
        chain: list[HandOver] = []
        for one in handovers:
            # A key that was handed over from, or to, before has nothing to give.
            if one.old in self._ends or one.new in self._begins or one.old == one.new:
                self.refused.append(one)
                continue
            self._ends[one.old] = self._begins[one.new] = one.sequence
            chain.append(one)
        self._known = set(trusted)
        for one in chain:
            if one.old in self._known and one.new not in self._known:
                self._known.add(one.new)
                self.led_to.append(one.new)
        for one in reversed(chain):
            if one.new in self._known:
                self._known.add(one.old)

    def at(self, sequence: int) -> list[bytes]:
        """The keys that count for a note at a place; at 0, which is anywhere, all of them."""
        return [
            key
            for key in self._known
            if not sequence
            or (
                self._begins.get(key, 0) < sequence
                and (key not in self._ends or sequence < self._ends[key])
            )
        ]

    def retired(self, key: bytes) -> bool:
        """Whether the key was handed over from."""
        return key in self._ends
