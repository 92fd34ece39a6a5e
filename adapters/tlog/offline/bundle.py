"""An unpacked bundle, and all that must hold of it."""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import time
from collections.abc import Iterator
from typing import Any

from adapters.tlog.offline.notes import open_note, parse_checkpoint, unbase64
from adapters.tlog.offline.trees import Wrong, grew, included, need, sha256, stretch_root

# No file of a bundle is larger; a body has at most 64 MiB in base64, and so has a text without it.
SMALL, LARGE = 1 << 20, 100 << 20
# Events of these types tell of a text: a configuration, or a difference.
WITH_TEXT = ("SnapshotCreated", "DiffGenerated")
FILES = {
    "": r"README\.txt|verify\.py|bundle\.json|keys|(?:stream-)?checkpoint|stream-leaves\.bin"
    r"|events\.jsonl|checkpoints|proofs|content",
    "checkpoints": r"[0-9]{12,19}\.(?:note|proof)",
    "proofs": r"[1-9][0-9]{0,18}\.tlog-proof",
    "content": r"[1-9][0-9]{0,18}\.(?:txt|salt)",
}


def parse_json(raw: bytes) -> Any:
    """What JSON says; a name that is twice in an object, which readers take differently, is
    refused."""

    def once(pairs: list[Any]) -> dict[Any, Any]:
        need(len(dict(pairs)) == len(pairs), "a name is twice in one object of JSON")
        return dict(pairs)

    return json.loads(raw, object_pairs_hook=once)


def in_words(nanoseconds: int) -> str:
    """A time for people."""
    seconds = min(max(0, nanoseconds // 10**9), 253402300799)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Bundle:
    """A folder that a bundle was unpacked into."""

    def __init__(self, folder: str, keys: list[Any], witnesses: list[Any], quorum: int) -> None:
        self.folder = folder
        self.keys = keys
        self.witnesses = witnesses
        self.quorum = quorum
        self.about = parse_json(self.read("bundle.json"))

    def open(self, name: str, most: int) -> Any:
        """A file of it: no link, pipe or device, and not larger than it can be."""
        path = os.path.join(self.folder, name)  # noqa: PTH118
        try:
            told = os.lstat(path)
            need(stat.S_ISREG(told.st_mode), f"{name} is not a plain file")
            need(told.st_size <= most, f"{name} has more than the {most} bytes that it may have")
            return open(path, "rb")  # noqa: PTH123
        except OSError as error:
            raise Wrong(f"{name} can't be read: {error.strerror}") from None

    def read(self, name: str, most: int = SMALL) -> bytes:
        """All of a file."""
        with self.open(name, most) as file:
            raw: bytes = file.read(most + 1)
        return raw

    def names(self, folder: str) -> list[Any]:
        """The files in one of its folders."""
        path = os.path.join(self.folder, folder)  # noqa: PTH118
        if folder and not os.path.lexists(path):
            return []
        need(stat.S_ISDIR(os.lstat(path).st_mode), f"{folder} is not a plain folder")
        found = sorted(os.listdir(path))  # noqa: PTH208
        strange = [one for one in found if not re.match(f"(?:{FILES[folder]})\\Z", one)]
        need(not (folder and strange), f"{folder}/{''.join(strange[:1])} is not of a bundle")
        return strange if not folder else found

    def checkpoint(self, name: str, origin: str) -> tuple[Any, ...]:
        """Size, root and signers of a checkpoint that is signed by its log."""
        own = [key for key in self.keys if key[0] == origin and key[2] == 1]
        need(bool(own), f"no key is given for the log {origin}")
        text, signers = open_note(self.read(name), own + self.witnesses)
        need(any(key in signers for key in own), f"{name} is not signed by its log")
        told, size, root = parse_checkpoint(text)
        need(told == origin, f"{name} is of the log {told}")
        return size, root, signers

    def newest(self, name: str, origin: str, max_age: int | None) -> tuple[Any, ...]:
        """The same, cosigned by as many of the witnesses as are asked for, none of them longer ago
        than `max_age`. A key is one witness, whatever the names it is given under."""
        size, root, signers = self.checkpoint(name, origin)
        lacking: dict[Any, str] = {}
        agreed: set[Any] = set()
        for witness in sorted(self.witnesses):
            age = int(time.time()) - signers.get(witness, 0)
            if witness not in signers:
                lacking[witness[3]] = f"{name} is not cosigned by {witness[0]}"
            elif max_age is not None and age > max_age:
                lacking[witness[3]] = f"{name} was cosigned {age} s ago by {witness[0]}"
            else:
                agreed.add(witness[3])
        said = "; ".join(told for key, told in lacking.items() if key not in agreed)
        need(len(agreed) >= self.quorum, f"{said}; {self.quorum} must have")
        return size, root

    def verify(self, max_age: int | None, kept: list[Any]) -> Iterator[str]:
        """Check everything, and tell what was found, in words. Raises `Wrong`."""
        about = self.about
        need(about["format"] == "configtrail/bundle@v1", "this bundle is of another format")
        base, named, token = about["log"].rpartition("/tenant/")
        need(bool(named) and token == about["tenant_token"], "the log is not the tenant's")
        told = re.sub("=(..)", lambda one: chr(int(one[1], 16)), token).encode("latin-1").decode()
        need(told == about["tenant"], "the log is not the tenant's")
        ours = about["stream_log"].startswith(f"{base}/stream/{about['stream']}/")
        need(ours, "the log of the stream is of another deployment")
        for name in self.names(""):
            yield f"WARNING: {name} is not of the bundle, and is not checked"
        size, root = self.newest("checkpoint", about["log"], max_age)
        stream_size, stream_root = self.newest("stream-checkpoint", about["stream_log"], max_age)
        yield f"ok: the checkpoint of {about['log']} is signed: {size} events"
        yield f"ok: the checkpoint of {about['stream_log']} is signed: {stream_size} events"
        texts = {int(one[:-4]) for one in self.names("content") if one.endswith(".txt")}
        events, bodies, told_of = self.events(size, texts)
        yield f"ok: {len(events)} events are in order, each of the tenant {token}"
        yield from self.complete([leaf for _, leaf in events], size, root)
        yield from self.in_stream(events, stream_size, stream_root)
        yield from self.proofs(dict(events), size, root)
        yield from self.older(size, root)
        for raw in kept:
            yield self.since(raw, size, root)
        yield from self.contents(bodies)
        if told_of > len(texts):
            yield f"{told_of - len(texts)} of the {told_of} texts that events tell of are not in it"

    def events(self, size: int, texts: set[Any]) -> tuple[Any, ...]:
        """Position and leaf hash of every event, the bodies of those at `texts`, and how many tell
        of a text."""
        about, told_of = self.about, 0
        found: list[Any] = []
        bodies: dict[Any, Any] = {}
        with self.open("events.jsonl", 1 << 62) as file:
            for line in iter(lambda: file.readline(LARGE + 1), b""):
                need(
                    line.endswith(b"\n") and len(line) <= LARGE, "a line of events.jsonl is broken"
                )
                need(len(found) < size, "there are more events than in the tenant's log")
                one = parse_json(line)
                position, stored_ns = one["position"], one["stored_ns"]
                block, body = unbase64(one["headers"]), unbase64(one["body"])
                need(not found or position > found[-1][0], f"event {position} is out of order")
                parts = one["subject"].split(".")
                ours = len(parts) == 4 and parts[1] == about["tenant_token"]
                need(ours, f"event {position} is of another tenant")
                subject, stream = (
                    one["subject"].encode("utf-8", "surrogateescape"),
                    about["stream"].encode(),
                )
                data = b"configtrail/leaf/v1\n" + struct.pack(">H", len(stream)) + stream
                data += struct.pack(">QQH", position, stored_ns, len(subject)) + subject
                data += sha256(block) + struct.pack(">Q", len(body)) + sha256(body)
                found.append((position, sha256(b"\x00" + data)))
                told_of += parts[3] in WITH_TEXT
                if position in texts:
                    bodies[position] = body
        need(len(found) == about["events"], f"there are {len(found)} events, not {about['events']}")
        return found, bodies, told_of

    def complete(self, leaves: list[Any], size: int, root: bytes) -> Iterator[str]:
        """The stretch, with the leaf before it and the one after it, is what the log holds. It may
        hold events of another time, when the server's clock was set back meanwhile."""
        about = self.about
        start, inside = about["index"], list(leaves)
        edges = (
            (about["leaf_before"], about["from_ns"], "before"),
            (about["leaf_after"], about["to_ns"], "after"),
        )
        for encoded, limit, side in edges:
            if encoded is None:
                continue
            leaf = unbase64(encoded)
            name = len(about["stream"].encode())
            _, stored_ns = struct.unpack_from(">QQ", leaf, 22 + name)
            outside = stored_ns < limit if side == "before" else stored_ns > limit
            need(outside, f"the event {side} the stretch belongs into it")
            hashed = sha256(b"\x00" + leaf)
            inside = [hashed, *inside] if side == "before" else [*inside, hashed]
            start -= side == "before"
        need(about["leaf_before"] is not None or start == 0, "the event before is not shown")
        need(
            about["leaf_after"] is not None or start + len(inside) == size,
            "the event after is not shown",
        )
        before = [unbase64(one) for one in about["before"]]
        after = [unbase64(one) for one in about["after"]]
        made = stretch_root(start, before, inside, after, size)
        need(made == root, "the events are not what the tenant's log holds")
        since = "its beginning" if about["from_ns"] == 0 else in_words(about["from_ns"])
        until = "its end" if about["leaf_after"] is None else in_words(about["to_ns"])
        yield f"ok: they are all that the log holds from {since} to {until}, and nothing else"

    def in_stream(self, events: list[Any], size: int, root: bytes) -> Iterator[str]:
        """Every event stands at its place in the log of the stream."""
        if not events:
            return
        about, first = self.about["in_stream"], events[0][0]
        need(first >= 1 and events[-1][0] <= size, "the events are not in the stream's log")
        count = events[-1][0] - first + 1
        raw = self.read("stream-leaves.bin", 32 * count)
        leaves = [raw[at : at + 32] for at in range(0, len(raw), 32)]
        before = [unbase64(one) for one in about["before"]]
        after = [unbase64(one) for one in about["after"]]
        made = stretch_root(first - 1, before, leaves, after, size)
        need(
            len(leaves) == count and made == root, "the stream's leaves are not what its log holds"
        )
        for position, leaf in events:
            there = leaves[position - first] == leaf
            need(there, f"event {position} is not at its place in the stream's log")
        yield "ok: each stands at its place in the log of the whole stream"

    def proofs(self, leaves: dict[Any, Any], size: int, root: bytes) -> Iterator[str]:
        """Proofs of single events, for other tools, are of these events and this checkpoint."""
        names, checkpoint = self.names("proofs"), self.read("checkpoint")
        for name in names:
            head, _, note = self.read("proofs/" + name).partition(b"\n\n")
            kind, extra, index, *hashes = head.decode().split("\n")
            form = re.match(r"index (0|[1-9][0-9]{0,18})\Z", index, re.A)
            if kind != "c2sp.org/tlog-proof@v1" or extra[:6] != "extra " or form is None:
                raise Wrong(f"proofs/{name} is not a proof")
            leaf, proof = sha256(b"\x00" + unbase64(extra[6:])), list(map(unbase64, hashes))
            need(leaf == leaves.get(int(name[:-11])), f"proofs/{name} is of another event")
            holds = note == checkpoint and included(leaf, int(form[1]), size, root, proof)
            need(holds, f"proofs/{name} does not hold")
        if names:
            yield f"ok: {len(names)} proofs of single events hold"

    def older(self, size: int, root: bytes) -> Iterator[str]:
        """Older checkpoints are of the same history."""
        names = [one[: -len(".note")] for one in self.names("checkpoints") if one[-5:] == ".note"]
        for name in names:
            old, old_root, _ = self.checkpoint(f"checkpoints/{name}.note", self.about["log"])
            holds = grew(old, old_root, size, root, self.growth(name))
            need(holds, f"the checkpoint of size {old} is of another history")
        if names:
            yield f"ok: {len(names)} older checkpoints are of the same history"

    def growth(self, name: str) -> list[Any]:
        """The proof that the log only grew since an older checkpoint."""
        lines = self.read(f"checkpoints/{name}.proof").decode().split("\n")[:-1]
        return [unbase64(one) for one in lines]

    def since(self, raw: bytes, size: int, root: bytes) -> str:
        """A checkpoint that the reader kept is of the same history. Whose it is they know."""
        origin, old, old_root = parse_checkpoint(open_note(raw, [])[0])
        need(origin == self.about["log"], f"the checkpoint that was kept is of the log {origin}")
        need(old <= size, f"truncated: the log had {old} events, and here it has {size}")
        name = f"{old:012d}"
        shown = old == size or f"{name}.proof" in self.names("checkpoints")
        need(shown, f"the bundle has no proof from size {old} on; name it at the export")
        holds = grew(old, old_root, size, root, [] if old == size else self.growth(name))
        need(holds, f"forked: the checkpoint of size {old} is of another history")
        return f"ok: the log only grew since the checkpoint of size {old} that was kept"

    def contents(self, bodies: dict[Any, Any]) -> Iterator[str]:
        """Texts are what their events committed to."""
        names = [one for one in self.names("content") if one.endswith(".txt")]
        for name in names:
            position = int(name[:-4])
            need(position in bodies, f"content/{name} is of no event")
            salt = bytes.fromhex(self.read(f"content/{position}.salt").decode().strip())
            # It is of a fixed length, or a part of the text could be said to be of the salt.
            need(len(salt) == 32, f"content/{position}.salt is not a salt of 32 bytes")
            commitment = json.loads(bodies[position])["content"]["commitment"]
            made = sha256(salt + self.read("content/" + name, LARGE)).hex()
            need(made == commitment, f"content/{name} is not the text that was recorded")
        if names:
            yield f"ok: {len(names)} texts are those that their events committed to"
