"""Comparing a history with what was signed about it: what is wrong, where, and of which kind. Pure.

A stream's positions are 1, 2, …; a checkpoint of its log of size n speaks of positions 1 to n.
Between two checkpoints only a root is signed. Which event is the bad one, and what happened to it,
comes from the leaf hashes in the tiles, once they are found to have the signed root; without them
the stretch is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import InvalidInput, NotVerified
from domain.ids import check_tenant_id, from_token
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.handover import HandOver, Trust, handover_origin, parse_handover
from domain.tlog.leaf import RawEvent, hash_of
from domain.tlog.merkle import Frontier
from domain.tlog.names import STREAM_LOG, LogNames, tenant_log
from domain.tlog.note import ED25519, Check, Note, VerifierKey, parse_note, verified

Kind: TypeAlias = Literal[
    "altered", "missing", "inserted", "reordered", "truncated", "forked", "re-signed", "unwitnessed"
]
What: TypeAlias = Literal["event", "checkpoint", "audit row", "device history", "content"]


# How far around a bad event we look for where it came from, or where what belongs there went.
WINDOW: Final = 4096


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


class Judged(Struct, frozen=True):
    """What the notes say, as far as they verify, and what is wrong with the others."""

    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]


def judge_notes(
    notes: Iterable[tuple[int, str, bytes]],
    names: LogNames,
    trusted: Sequence[bytes],
    check: Check,
    *,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int | None = None,
) -> Judged:
    """The claims in notes (sequence, name of the log by their subject, bytes), in order.

    `trusted` are the public keys that may speak for these logs; hand-overs among the notes lead
    from them to others. The last checkpoint of every log must be cosigned by at least `quorum` of
    the `witnesses`, without it by all of them.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    before: dict[str, Claim] = {}
    last: dict[str, tuple[int, Note]] = {}
    notes = list(notes)
    trust = _trust(notes, names.base, trusted, check, findings)
    for sequence, origin, raw in notes:
        if origin == handover_origin(names.base):
            continue
        try:
            note = parse_note(raw)
            checkpoint = parse_checkpoint(note.text)
            if checkpoint.origin != origin:
                raise NotVerified("the checkpoint", f"it is of {checkpoint.origin}")
            _check_signed(note, checkpoint, trust.at(sequence), check)
        except _ReSigned as error:
            findings.append(Finding("checkpoint", "re-signed", sequence, str(error)))
            continue
        except NotVerified as error:
            findings.append(Finding("checkpoint", "altered", sequence, error.reason))
            continue
        log = names.log(origin)
        if log is None:
            findings.append(
                Finding("checkpoint", "forked", sequence, f"{origin} is no log over this stream")
            )
            continue
        claim = Claim(log, checkpoint.size, checkpoint.root, sequence)
        former = before.get(log)
        if former is not None and claim.size < former.size and sequence:
            findings.append(
                Finding(
                    "checkpoint",
                    "reordered",
                    sequence,
                    f"{origin} has size {claim.size} after size {former.size}",
                )
            )
        elif sequence:
            before[log] = claim
        if sequence:
            last[log] = (sequence, note)
        claims.append(claim)
    for log, (sequence, note) in last.items():
        lacking = _lacking(note, witnesses, check)
        wanted = len(set(witnesses)) if quorum is None else quorum
        if len(set(witnesses)) - len(lacking) < wanted:
            names_lacking = ", ".join(sorted(one.name for one in lacking))
            detail = f"the last checkpoint of {names.origin(log)} lacks {names_lacking}"
            if quorum is not None:
                detail += f"; {quorum} of {len(set(witnesses))} must have cosigned it"
            findings.append(Finding("checkpoint", "unwitnessed", sequence, detail))
    return Judged(tuple(claims), tuple(findings))


def _lacking(note: Note, witnesses: Sequence[VerifierKey], check: Check) -> set[VerifierKey]:
    """The witnesses that did not cosign."""
    lacking: set[VerifierKey] = set()
    for witness in witnesses:
        try:
            verified(note, [witness], check)
        except NotVerified:
            lacking.add(witness)
    return lacking


def _trust(
    notes: Iterable[tuple[int, str, bytes]],
    base: str,
    trusted: Sequence[bytes],
    check: Check,
    findings: list[Finding],
) -> Trust:
    handovers: list[HandOver] = []
    for sequence, origin, raw in notes:
        if origin == handover_origin(base):
            try:
                handovers.append(parse_handover(base, raw, check, sequence))
            except NotVerified as error:
                findings.append(Finding("checkpoint", "altered", sequence, error.reason))
    trust = Trust(trusted, handovers)
    findings += [
        Finding("checkpoint", "re-signed", one.sequence, "a key that was handed over before")
        for one in trust.refused
    ]
    return trust


class _ReSigned(Exception):
    """Signed under the log's name with a key that is not trusted."""


def _check_signed(
    note: Note, checkpoint: Checkpoint, trusted: Sequence[bytes], check: Check
) -> None:
    keys = [VerifierKey(checkpoint.origin, public, ED25519) for public in trusted]
    known = {key.key_id for key in keys}
    own = [one for one in note.signatures if one.name == checkpoint.origin]
    if own and not any(one.key_id in known for one in own):
        raise _ReSigned(f"{checkpoint.origin} at size {checkpoint.size} is signed by another key")
    verified(note, keys, check)


class StreamCheck:
    """Takes the events in order and compares every root that was signed on the way."""

    def __init__(self, stream: str, claims: Iterable[Claim]) -> None:
        self._stream = stream
        self._trees: dict[str, Frontier] = {STREAM_LOG: Frontier()}
        self._open: dict[str, list[Claim]] = {}
        # Of an empty tree there is nothing to compare.
        for claim in sorted((one for one in claims if one.size), key=lambda one: -one.size):
            self._open.setdefault(claim.log, []).append(claim)
        # The size at which each log has its next claim.
        self._due = {log: waiting[-1].size for log, waiting in self._open.items()}
        self._logs: dict[str, str | None] = {}
        self._wrong: list[Claim] = []
        self._matched: dict[str, int] = {}
        self._gap: int | None = None
        self.findings: list[Finding] = []
        self.position = 0

    @property
    def matched(self) -> int:
        """How many events are covered by a checkpoint of the stream that holds."""
        return self._matched.get(STREAM_LOG, 0)

    @property
    def logs(self) -> int:
        """How many logs have a checkpoint that holds."""
        return len(self._matched)

    def feed(self, events: Sequence[RawEvent]) -> None:
        """The next events, as the stream gives them."""
        stream, tree, due = self._stream, self._trees[STREAM_LOG], self._due
        for event in events:
            if event.position != self.position + 1:
                self._leap(event.position)
            self.position = event.position
            if self._gap is not None:
                continue  # no root can be right from here on
            leaf = hash_of(stream, event)
            tree.append(leaf)
            if due.get(STREAM_LOG) == tree.size:
                self._compare(STREAM_LOG, tree)
            log = self._log_of(event.subject)
            if log is not None:
                own = self._trees.get(log)
                if own is None:
                    own = self._trees[log] = Frontier()
                own.append(leaf)
                if due.get(log) == own.size:
                    self._compare(log, own)

    def finish(self, last: int) -> Suspect | None:
        """The stream ends here; it says itself that its last position is `last`.

        Returns the stretch to look into for the bad event. `findings` are complete without it.
        """
        if last > self.position and self._gap is None:
            self._leap(last + 1)
        if self._gap is None and not self._suspicious():
            self._judge_tenants()
        self._judge_forks()
        return self._suspect()

    def _leap(self, found: int) -> None:
        expected = self.position + 1
        if found <= self.position:
            self.findings.append(
                Finding("event", "reordered", found, f"it comes after position {self.position}")
            )
        else:
            many = "" if found == expected + 1 else f" to {found - 1}"
            self.findings.append(
                Finding("event", "missing", expected, f"nothing is stored at {expected}{many}")
            )
        if self._gap is None:
            self._gap = min(expected, found)

    def _log_of(self, subject: str) -> str | None:
        token = subject.split(".", 2)[1] if subject.count(".") == 3 else ""
        if token not in self._logs:
            try:
                self._logs[token] = tenant_log(check_tenant_id(from_token(token)))
            except (ValueError, InvalidInput):
                self._logs[token] = None
        return self._logs[token]

    def _compare(self, log: str, tree: Frontier) -> None:
        root, waiting = tree.root(), self._open[log]
        while waiting and waiting[-1].size == tree.size:
            claim = waiting.pop()
            if claim.root == root:
                self._matched[log] = claim.size
            else:
                self._wrong.append(claim)
        if waiting:
            self._due[log] = waiting[-1].size

    def _suspicious(self) -> tuple[Claim, ...]:
        """The claims about the stream that nothing later makes good, the smallest first."""
        matched = self.matched
        left = [one for one in self._wrong if one.log == STREAM_LOG and one.size > matched]
        left += self._open.get(STREAM_LOG, [])
        return tuple(sorted(left, key=lambda one: one.size))

    def _judge_forks(self) -> None:
        """A later root holds, and an earlier one does not: that one is of another history."""
        for claim in self._wrong:
            if claim.log == STREAM_LOG and claim.size <= self.matched:
                self.findings.append(_forked(claim))

    def _judge_tenants(self) -> None:
        """The stream is what was signed, so a tenant's root that differs is of another history."""
        for claim in self._wrong:
            if claim.log != STREAM_LOG:
                self.findings.append(_forked(claim))
        for log, waiting in self._open.items():
            if log != STREAM_LOG:
                self.findings += [_forked(claim) for claim in waiting]

    def _suspect(self) -> Suspect | None:
        claims = self._suspicious()
        if not claims:
            return None
        last = self.position if self._gap is None else self._gap - 1
        return Suspect(self.matched + 1, min(last, claims[0].size), claims)


def locate(
    stream: str, suspect: Suspect, events: Sequence[RawEvent], signed: Sequence[bytes] | None
) -> list[Finding]:
    """What is wrong in a suspect stretch. `events` are those of it and up to `WINDOW` more;
    `signed` the leaf hashes that were signed, from position 1 on, None when they can't be had."""
    first, last, claim = suspect.first, suspect.last, suspect.claim
    if signed is not None:
        for at, event in enumerate(events):
            index = event.position - 1
            if event.position > min(last, claim.size):
                break
            if hash_of(stream, event) != signed[index]:
                return [_classified(stream, events, at, signed)]
    if last < claim.size:
        return [
            Finding(
                "event",
                "truncated",
                last + 1,
                f"a checkpoint was signed over {claim.size} events, and {last} are there",
            )
        ]
    return [
        Finding(
            "event",
            "altered",
            first,
            f"one of the events {first} to {last} at least; the tiles that would tell which are "
            "not those that were signed",
        )
    ]


def _classified(
    stream: str, events: Sequence[RawEvent], at: int, signed: Sequence[bytes]
) -> Finding:
    """What happened at the first event that is not what was signed: it is told by whether what was
    signed here stands later, and whether what stands here was signed for later."""
    position = events[at].position
    now = _stands_at(stream, events, at, signed[position - 1])
    once = _signed_for(stream, events, at, signed)
    if now is not None and once is not None:
        detail = f"what was signed here stands at {now}, and what stands here was {once}"
        return Finding("event", "reordered", position, detail)
    if now is not None:
        return Finding("event", "inserted", position, f"what was signed here stands at {now}")
    if once is not None:
        return Finding("event", "missing", position, f"what was signed for {once} stands here")
    return Finding("event", "altered", position, "it is not what was signed")


def _stands_at(stream: str, events: Sequence[RawEvent], at: int, wanted: bytes) -> int | None:
    here = events[at]
    for other in events[at + 1 : at + WINDOW]:
        moved = replace(other, position=here.position)
        if wanted in (
            hash_of(stream, moved),
            hash_of(stream, replace(moved, stored_ns=here.stored_ns)),
        ):
            return other.position
    return None


def _signed_for(
    stream: str, events: Sequence[RawEvent], at: int, signed: Sequence[bytes]
) -> int | None:
    here = events[at]
    end = min(len(signed), here.position + WINDOW)
    for position in range(here.position + 1, end + 1):
        if hash_of(stream, replace(here, position=position)) == signed[position - 1]:
            return position
    for other in events[at + 1 : at + WINDOW]:
        moved = replace(here, position=other.position, stored_ns=other.stored_ns)
        if other.position <= len(signed) and hash_of(stream, moved) == signed[other.position - 1]:
            return other.position
    return None


def _forked(claim: Claim) -> Finding:
    return Finding(
        "checkpoint",
        "forked",
        claim.sequence,
        f"the log {claim.log} at size {claim.size} was signed over another history",
    )
