"""Every way of tampering with a history: what is done to a copy, and what is to be said of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from adapters.crypto.signing import SigningKey
from adapters.jetstream.verbatim import Reader
from adapters.retention.explaining import explained
from domain.envelope import StoredEvent
from domain.events import SnapshotCreated
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.names import STREAM_LOG
from domain.tlog.note import parse_note
from tests.history_copy import Copy, Expected
from tests.logs import KEY

OTHER = SigningKey(bytes(32))


def flipped(raw: bytes, choice: random.Random) -> bytes:
    at = choice.randrange(len(raw))
    return raw[:at] + bytes((raw[at] ^ (1 << choice.randrange(8)),)) + raw[at + 1 :]


def alter_time(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    moved = it.events[at].stored_ns + choice.choice((-1, 1, 10**9))
    it.events[at] = replace(it.events[at], stored_ns=moved)
    return "event", "altered", at + 1


def alter_subject(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    parts = it.events[at].subject.split(".")
    part = choice.randrange(len(parts))
    parts[part] = parts[part][:-1] + ("x" if parts[part][-1] != "x" else "y")
    it.events[at] = replace(it.events[at], subject=".".join(parts))
    return "event", "altered", at + 1


def alter_headers(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    it.events[at] = replace(it.events[at], block=flipped(it.events[at].block, choice))
    return "event", "altered", at + 1


def alter_body(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    it.events[at] = replace(it.events[at], body=flipped(it.events[at].body, choice))
    return "event", "altered", at + 1


def alter_without_tiles(it: Copy, choice: random.Random) -> Expected:
    """Only the roots are there to tell: the stretch between two checkpoints is named."""
    it.leaves = []
    _, _, position = alter_body(it, choice)
    sizes = [one.size for _, one in it.checkpoints(STREAM_LOG)]
    return "event", "altered", max([size for size in sizes if size < position], default=0) + 1


def drop(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events) - 1)
    del it.events[at]
    return "event", "missing", at + 1


def drop_and_close_up(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events) - 1)
    del it.events[at : at + choice.randrange(1, min(4, len(it.events) - at))]
    it.renumber()
    return "event", "missing", at + 1


def insert(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events))
    for _ in range(choice.randrange(1, 4)):
        like = choice.choice(it.events)
        fresh = replace(like, body=flipped(like.body, choice))
        it.events.insert(at, fresh)
    it.renumber()
    return "event", "inserted", at + 1


def swap(it: Copy, choice: random.Random) -> Expected:
    first, second = sorted(choice.sample(range(len(it.events)), 2))
    one, two = it.events[first], it.events[second]
    if choice.random() < 0.5:  # with their times, or leaving these in place
        one, two = replace(one, stored_ns=two.stored_ns), replace(two, stored_ns=one.stored_ns)
    it.events[first] = replace(two, position=first + 1)
    it.events[second] = replace(one, position=second + 1)
    return "event", "reordered", first + 1


def swap_neighbours(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.events) - 1)
    one, two = it.events[at : at + 2]
    it.events[at : at + 2] = [replace(two, position=at + 1), replace(one, position=at + 2)]
    return "event", "reordered", at + 1


def truncate(it: Copy, choice: random.Random) -> Expected:
    left = choice.randrange(len(it.events))
    del it.events[left:]
    it.last = left
    return "event", "truncated", left + 1


def cut_the_last_block(it: Copy, choice: random.Random) -> Expected:
    """As when a file is cut: the stream still knows where it ended."""
    left = choice.randrange(len(it.events))
    del it.events[left:]
    return "event", "missing", left + 1


def sign_with_another_key(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    checkpoint = parse_checkpoint(parse_note(it.stored_notes[at].raw).text)
    it.put_note(at, OTHER.note(checkpoint))
    return "checkpoint", "re-signed", at + 1


def rewrite_and_sign_with_another_key(it: Copy, choice: random.Random) -> Expected:
    alter_body(it, choice)
    for at, stored in enumerate(it.stored_notes):
        checkpoint = parse_checkpoint(parse_note(stored.raw).text)
        it.put_note(at, OTHER.note(checkpoint))
    return "checkpoint", "re-signed", 1


def alter_checkpoint(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    note = parse_note(it.stored_notes[at].raw)
    checkpoint = parse_checkpoint(note.text)
    if choice.random() < 0.5:
        changed = replace(checkpoint, size=checkpoint.size + choice.randrange(1, 9))
    else:
        changed = replace(checkpoint, root=flipped(checkpoint.root, choice))
    it.put_note(at, replace(note, text=changed.text))
    return "checkpoint", "altered", at + 1


def alter_signature(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    note = parse_note(it.stored_notes[at].raw)
    (one,) = note.signatures
    broken = replace(one, signature=flipped(one.signature, choice))
    it.put_note(at, replace(note, signatures=(broken,)))
    return "checkpoint", "altered", at + 1


def move_checkpoint_to_another_log(it: Copy, choice: random.Random) -> Expected:
    at, other = choice.sample(range(len(it.stored_notes)), 2)
    while it.stored_notes[at].origin == it.stored_notes[other].origin:
        at, other = choice.sample(range(len(it.stored_notes)), 2)
    it.stored_notes[at] = replace(it.stored_notes[at], raw=it.stored_notes[other].raw)
    return "checkpoint", "altered", at + 1


def drop_checkpoint(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.stored_notes))
    del it.stored_notes[at]
    return "checkpoint", "missing", at + 1


def swap_checkpoints(it: Copy, choice: random.Random) -> Expected:
    one, two = sorted(index for index, _ in choice.sample(it.checkpoints(STREAM_LOG), 2))
    first, second = it.stored_notes[one], it.stored_notes[two]
    it.stored_notes[one] = replace(first, raw=second.raw)
    it.stored_notes[two] = replace(second, raw=first.raw)
    between = [index for index, _ in it.checkpoints(STREAM_LOG) if one < index <= two]
    return "checkpoint", "reordered", between[0] + 1


def fork(it: Copy, choice: random.Random) -> Expected:
    """With the true key, another root for a size."""
    log = choice.choice([STREAM_LOG, "tenant/acme", "tenant/globex"])
    at, checkpoint = choice.choice(it.checkpoints(log))
    it.put_note(at, KEY.note(replace(checkpoint, root=flipped(checkpoint.root, choice))))
    return "checkpoint", "forked", at + 1


def two_roots_for_a_size(it: Copy, choice: random.Random) -> Expected:
    """Two views for two auditors, both kept."""
    log = choice.choice([STREAM_LOG, "tenant/acme", "tenant/globex"])
    at, checkpoint = it.checkpoints(log)[-1]
    other = KEY.note(replace(checkpoint, root=flipped(checkpoint.root, choice)))
    it.last_note += 1
    it.stored_notes.append(
        replace(it.stored_notes[at], sequence=it.last_note, raw=str(other).encode())
    )
    return "checkpoint", "forked", it.last_note


def alter_row(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.audit))
    row = list(it.audit[at])
    column = choice.randrange(1, len(row))
    row[column] = _changed(row[column])
    it.audit[at] = tuple(row)
    return "audit row", "altered", at + 1


def _changed(value: Any) -> Any:
    match value:
        case None:
            return "somebody"
        case str() if value.startswith("{"):
            return value.replace('"actor":"', '"actor":"user:')
        case str():
            return value + "x"
        case int():
            return value + 1
        case _:
            return value + timedelta(microseconds=1)


def delete_row(it: Copy, choice: random.Random) -> Expected:
    at = choice.randrange(len(it.audit))
    del it.audit[at]
    return "audit row", "missing", at + 1


def insert_row(it: Copy, choice: random.Random) -> Expected:
    like = choice.choice(it.audit)
    position = choice.choice((-3, 0, it.last + 1, it.last + 1000))
    it.audit.append((position, *like[1:]))
    it.audit.sort(key=lambda row: int(row[0]))
    return "audit row", "inserted", position


def _content(it: Copy, choice: random.Random) -> tuple[int, int]:
    read = [Reader().read(one) for one in it.events]
    stored = [one for one in read if isinstance(one, StoredEvent)]
    found = [one for one in stored if isinstance(one.event, SnapshotCreated)]
    one = choice.choice(found)
    assert isinstance(one.event, SnapshotCreated)
    return one.position, one.event.content.sequence


def delete_content(it: Copy, choice: random.Random) -> Expected:
    position, sequence = _content(it, choice)
    while _is_explained(it, position, sequence):  # that one is gone rightly
        position, sequence = _content(it, choice)
    it.gone.add(sequence)
    return "content", "missing", position


def _is_explained(it: Copy, position: int, sequence: int) -> bool:
    branch = it.events[position - 1].subject.rpartition(".")[0]
    reader = Reader()
    for raw in it.events[position:]:
        stored = reader.read(raw)
        same = isinstance(stored, StoredEvent) and raw.subject.rpartition(".")[0] == branch
        if same and isinstance(stored, StoredEvent) and explained(stored, sequence) is not None:
            return True
    return False


def alter_content(it: Copy, choice: random.Random) -> Expected:
    position, sequence = _content(it, choice)
    it.corrupt.add(sequence)
    return "content", "altered", position


TAMPERINGS: tuple[Callable[[Copy, random.Random], Expected], ...] = (
    alter_time,
    alter_subject,
    alter_headers,
    alter_body,
    alter_without_tiles,
    drop,
    drop_and_close_up,
    insert,
    swap,
    swap_neighbours,
    truncate,
    cut_the_last_block,
    sign_with_another_key,
    rewrite_and_sign_with_another_key,
    alter_checkpoint,
    alter_signature,
    move_checkpoint_to_another_log,
    drop_checkpoint,
    swap_checkpoints,
    fork,
    two_roots_for_a_size,
    alter_row,
    delete_row,
    insert_row,
    delete_content,
    alter_content,
)
