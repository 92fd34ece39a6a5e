"""What signed notes say of their logs where they verify, and what is wrong with others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

from msgspec import Struct

from domain.errors import NotVerified
from domain.tlog.checkpoint import Checkpoint, parse_checkpoint
from domain.tlog.findings import Claim, Finding
from domain.tlog.handover import HandOver, Trust, handover_origin, parse_handover
from domain.tlog.names import LogNames, cosigned_origin
from domain.tlog.note import (
    ED25519,
    Check,
    Note,
    VerifierKey,
    cosignature_time,
    parse_note,
    verified,
)

# How long a log may grow without its witnesses, who are slower, before that tells something.
WITNESS_LAG_SECONDS: Final = 300


class Judged(Struct, frozen=True):
    """What the notes say, as far as they verify, and what is wrong with the others. `led_to`: the
    public keys that count only because a trusted one handed over to them. `others`: how many notes
    are of another log, and say nothing of this stream. `behind`: of how many logs the last
    checkpoint waits for its witnesses, who cosigned a former one just now."""

    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    led_to: tuple[bytes, ...] = ()
    others: int = 0
    behind: int = 0


class _Repeated(Struct):
    """A checkpoint of a log, with all notes that say it where there are witnesses to look for in
    them: `first` and last the sequences of the log's own."""

    size: int
    first: int
    sequence: int
    notes: list[Note]


def judge_notes(
    notes: Iterable[tuple[int, str, bytes]],
    names: LogNames,
    trusted: Sequence[bytes],
    check: Check,
    *,
    witnesses: Sequence[VerifierKey] = (),
    quorum: int | None = None,
    now: float | None = None,
    stored: Mapping[int, float] | None = None,
) -> Judged:
    """The claims in notes (sequence, name of the log by their subject, bytes), in order.

    `trusted` are the public keys that may speak for these logs; hand-overs among the notes lead
    from them to others. The last checkpoint of every log must be cosigned by at least `quorum` of
    the `witnesses`, without it by all of them. A log may grow faster than they answer: with `now`
    (seconds since 1970) a former one does as well that they cosigned within
    `WITNESS_LAG_SECONDS` of it, where the log's next one is as new: an old one may be cosigned anew
    for ever. When each note was stored is in `stored`, by its sequence.
    """
    claims: list[Claim] = []
    findings: list[Finding] = []
    before: dict[str, Claim] = {}
    said: dict[str, dict[str, _Repeated]] = {}
    others = 0
    notes = list(notes)
    trust = _trust(notes, names.base, trusted, check, findings)
    later = _SignedLater(notes, trust, check)
    for sequence, under, raw in notes:
        if under == handover_origin(names.base):
            continue
        # What is cosigned stands there once more, when witnesses came to it.
        origin = cosigned_origin(under) or under
        try:
            if sequence and _is_another_logs(origin, raw, names, check):
                others += 1
                continue
            note, checkpoint = _checkpoint_of(origin, raw)
            place = sequence if origin == under else 0
            try:
                _check_signed(note, checkpoint, trust.at(place), check)
            except _ReSigned:
                if not later.counts(sequence, origin, note):
                    raise
            if origin != under and note.text not in said.get(names.log(origin) or "", {}):
                raise NotVerified("the checkpoint", "it was cosigned, and is none of the log")
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
        if origin != under:
            if witnesses:
                said[log][note.text].notes.append(note)
        elif former is not None and claim.size < former.size and sequence:
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
        if sequence and origin == under:
            repeated = said.setdefault(log, {}).pop(note.text, None)
            repeated = repeated or _Repeated(claim.size, sequence, 0, [])
            repeated.sequence = sequence
            if witnesses:
                repeated.notes.append(note)
            said[log][note.text] = repeated  # the last one of the log is the last one here
        claims.append(claim)
    parties = len({one.public for one in witnesses})
    wanted = parties if quorum is None else quorum
    behind = 0
    for log, by_text in said.items():
        line = list(by_text.values())
        last = line[-1]
        agreed = _cosigned(last.notes, witnesses, check)
        if len(agreed) >= wanted:
            continue
        if now is not None and any(
            is_just_now((stored or {}).get(following.first), now)
            and _just_now(one, witnesses, check, wanted, now)
            for one, following in pairwise(line)
        ):
            behind += 1
            continue
        lacking = sorted({one.name for one in witnesses if one.public not in agreed})
        detail = f"the last checkpoint of {names.origin(log)} lacks {', '.join(lacking)}"
        if quorum is not None:
            detail += f"; {quorum} of {parties} must have cosigned it"
        findings.append(Finding("checkpoint", "unwitnessed", last.sequence, detail))
    return Judged(tuple(claims), tuple(findings), tuple(trust.led_to), others, behind)


def _checkpoint_of(origin: str, raw: bytes) -> tuple[Note, Checkpoint]:
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise NotVerified("the checkpoint", f"it is of {checkpoint.origin}")
    return note, checkpoint


def _is_another_logs(origin: str, raw: bytes, names: LogNames, check: Check) -> bool:
    """Whether it is a whole note of a log that can say nothing of this stream, such as one of a
    name that the deployment had before. Who signed it is not asked: nothing is believed of it.
    Raises `NotVerified` when it is no such note, nor one of ours."""
    if names.may_speak_of_this(origin):
        return False
    base = origin.rpartition("/")[0]
    if origin == handover_origin(base):
        parse_handover(base, raw, check)
    else:
        _checkpoint_of(origin, raw)
    return True


def _cosigned(
    notes: Sequence[Note], witnesses: Sequence[VerifierKey], check: Check
) -> dict[bytes, int]:
    """The public keys of the witnesses that cosigned one of these notes, and when they last did. A
    cosignature does not cover its name: a key that is given under two names is one witness."""
    agreed: dict[bytes, int] = {}
    for note in notes:
        for witness in witnesses:
            with suppress(NotVerified):
                verified(note, [witness], check)
                times = [
                    cosignature_time(one) or 0
                    for one in note.signatures
                    if (one.name, one.key_id) == (witness.name, witness.key_id)
                ]
                agreed[witness.public] = max(agreed.get(witness.public, 0), *times)
    return agreed


def is_just_now(seconds: float | None, now: float) -> bool:
    """Whether it is a short while before or after now: clocks differ."""
    return seconds is not None and abs(now - seconds) <= WITNESS_LAG_SECONDS


def _just_now(
    one: _Repeated, witnesses: Sequence[VerifierKey], check: Check, wanted: int, now: float
) -> bool:
    """Whether enough witnesses cosigned it, by their clocks, just now."""
    # What its signatures say of their time is looked at before they are checked: there may be many.
    if not any(
        is_just_now(cosignature_time(it), now) for note in one.notes for it in note.signatures
    ):
        return False
    agreed = _cosigned(one.notes, witnesses, check).values()
    return sum(is_just_now(at, now) for at in agreed) >= wanted


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


class _SignedLater:
    """Notes of a key that was handed over in the middle of a sealer's round: what it signed in the
    rest of that counts where a key that was in force then signed the same later."""

    def __init__(self, notes: Sequence[tuple[int, str, bytes]], trust: Trust, check: Check) -> None:
        self._notes = notes
        self._trust = trust
        self._check = check
        self._by_text: dict[bytes, list[tuple[int, str, bytes]]] = {}
        self._last: dict[bytes, int] = {}

    def counts(self, sequence: int, origin: str, note: Note) -> bool:
        """Whether a note is of a key that counted before, and was signed again later."""
        text = note.text.encode()
        if not self._holds(origin, str(note).encode(), 0):
            return False
        if not self._by_text:
            for one in self._notes:
                self._by_text.setdefault(_text_of(one[2]), []).append(one)
        if text not in self._last:
            again = [
                at
                for at, under, raw in self._by_text[text]
                if at and under == origin and self._holds(origin, raw, at)
            ]
            self._last[text] = max(again, default=0)
        return sequence < self._last[text]

    def _holds(self, origin: str, raw: bytes, place: int) -> bool:
        keys = [VerifierKey(origin, public) for public in self._trust.at(place)]
        with suppress(NotVerified):
            return bool(verified(parse_note(raw), keys, self._check))
        return False


def _text_of(raw: bytes) -> bytes:
    return raw.rpartition(b"\n\n")[0] + b"\n"


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
