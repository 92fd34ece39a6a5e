"""Comparing a history with what was signed about it, root by root. Pure.

A stream's positions are 1, 2, …; a checkpoint of its log of size n speaks of positions 1 to n.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from domain.tlog.findings import Claim, Finding, Suspect
from domain.tlog.leaf import RawEvent, hashes_of
from domain.tlog.merkle import Frontier
from domain.tlog.names import STREAM_LOG, tenant_log, tenant_of_subject


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
        # The tenant of all events so far: its tree and the stream's are one.
        self._alone: str | None = None
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
        events = self._gapless(events)
        if not events:
            return
        leaves = hashes_of(self._stream, events)
        tenants = [tenant_of_subject(event.subject) for event in events]
        stream = self._trees[STREAM_LOG]
        if not stream.size:
            self._alone = tenants[0]
        if self._alone is not None:
            log = tenant_log(self._alone)
            if tenants.count(self._alone) == len(tenants):
                self._trees[log] = stream
                self._extend((STREAM_LOG, log), leaves)
                return
            self._alone, self._trees[log] = None, stream.copy()
        self._extend((STREAM_LOG,), leaves)
        grown: dict[str, list[bytes]] = {}
        for tenant, leaf in zip(tenants, leaves, strict=True):
            if tenant is not None:
                grown.setdefault(tenant, []).append(leaf)
        for tenant, own in grown.items():
            self._extend((tenant_log(tenant),), own)

    def _gapless(self, events: Sequence[RawEvent]) -> Sequence[RawEvent]:
        """The events before the first gap: no root can be right from there on."""
        first = self.position + 1
        if self._gap is None and [one.position for one in events] == list(
            range(first, first + len(events))
        ):
            self.position += len(events)
            return events
        before = 0
        for event in events:
            if event.position != self.position + 1:
                self._leap(event.position)
            self.position = event.position
            before += self._gap is None
        return events[:before]

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

    def _extend(self, logs: Sequence[str], leaves: Sequence[bytes]) -> None:
        """The next leaves of logs that have one tree."""
        tree = self._trees.setdefault(logs[0], Frontier())
        while leaves:
            # Up to the next size that was signed.
            ahead = [self._due.get(log, 0) - tree.size for log in logs]
            some = min((one for one in ahead if one > 0), default=len(leaves))
            tree.extend(leaves[:some])
            leaves = leaves[some:]
            for log in logs:
                if self._due.get(log) == tree.size:
                    self._compare(log, tree)

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
                size = self._trees[log].size if log in self._trees else 0
                self.findings += [_beyond(claim, size) for claim in waiting]

    def _suspect(self) -> Suspect | None:
        claims = self._suspicious()
        if not claims:
            return None
        last = self.position if self._gap is None else self._gap - 1
        return Suspect(self.matched + 1, min(last, claims[0].size), claims)


def _beyond(claim: Claim, size: int) -> Finding:
    """What was kept elsewhere tells of an end that is gone; a note of the stream of checkpoints can
    only be of another history, since the stream's own are true."""
    if claim.sequence:
        return _forked(claim)
    detail = f"the log {claim.log} had {claim.size} events when it was signed, and has {size}"
    return Finding("checkpoint", "truncated", claim.sequence, detail)


def _forked(claim: Claim) -> Finding:
    return Finding(
        "checkpoint",
        "forked",
        claim.sequence,
        f"the log {claim.log} at size {claim.size} was signed over another history",
    )
