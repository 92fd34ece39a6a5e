"""Comparing a history with what was signed about it, root by root. Pure.

A stream's positions are 1, 2, …; a checkpoint of its log of size n speaks of positions 1 to n.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from domain.errors import InvalidInput
from domain.ids import check_tenant_id, from_token
from domain.tlog.findings import Claim, Finding, Suspect
from domain.tlog.leaf import RawEvent, hash_of
from domain.tlog.merkle import Frontier
from domain.tlog.names import STREAM_LOG, tenant_log


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
