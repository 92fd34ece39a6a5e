#!/usr/bin/env python3
"""Checks a Configtrail audit bundle. Needs nothing but Python 3.8 or newer.

    python3 verify.py --key 'NAME+ID+KEY' [--key …] [--witness 'NAME+ID+KEY'] [FOLDER]

Take the keys from somebody you trust, not from the bundle: whoever made the bundle made its keys.
It checks, in this order: signatures of the checkpoints, form and order of the events, that they are
all that the tenant's log holds in this stretch, that each stands at its place in the stream's log,
that older checkpoints are of the same history, and that texts are those that events committed to.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import struct
import sys
import time
from typing import Any

# --- Ed25519 (RFC 8032), verification only: accepts what OpenSSL accepts ---
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _add(one: tuple[Any, ...], two: tuple[Any, ...]) -> tuple[Any, ...]:
    a = (one[1] - one[0]) * (two[1] - two[0]) % P
    b = (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number: int, point: tuple[Any, ...]) -> tuple[Any, ...]:
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point = _add(point, point)
        number >>= 1
    return total


def _point(raw: bytes) -> tuple[Any, ...] | None:
    number = int.from_bytes(raw, "little")
    y = (number & (2**255 - 1)) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x + u) % P == 0:
        x = x * ROOT % P
    if (v * x * x - u) % P:
        return None
    if x & 1 != number >> 255:
        x = -x % P
    return x, y, 1, x * y % P


BASE = _point(bytes([0x58]) + bytes([0x66]) * 31)


def signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature over the message is of the public key."""
    point = _point(public)
    scalar = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or point is None or BASE is None or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    hashed = int.from_bytes(digest, "little") % ORDER
    x, y, z, t = point
    x, y, z, _ = _add(_times(scalar, BASE), _times(hashed, (-x % P, y, z, -t % P)))
    inverse = pow(z, P - 2, P)
    encoded = (y * inverse % P) | ((x * inverse % P & 1) << 255)
    return bool(encoded.to_bytes(32, "little") == signature[:32])


# --- Merkle trees (RFC 6962) ---
def sha256(data: bytes) -> bytes:
    """The SHA-256 of bytes."""
    return hashlib.sha256(data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right)


def heights_before(start: int) -> list[Any]:
    """The heights of the perfect subtrees before a leaf."""
    return [height for height in range(62, -1, -1) if start >> height & 1]


def heights_after(end: int, size: int) -> list[Any]:
    """The heights of the perfect subtrees from a leaf on."""
    heights = []
    while end < size:
        height = 0
        while end % (2 << height) == 0 and end + (2 << height) <= size:
            height += 1
        heights.append(height)
        end += 1 << height
    return heights


def stretch_root(
    start: int, before: list[Any], leaves: list[Any], after: list[Any], size: int
) -> bytes:
    """The root of the tree that a stretch of leaves and the subtrees around it make up."""
    left, right = heights_before(start), heights_after(start + len(leaves), size)
    need(start + len(leaves) <= size, "the stretch goes beyond the checkpoint")
    need(len(left) == len(before) and len(right) == len(after), "the proof has a wrong length")
    parts = [*zip(left, before), *((0, leaf) for leaf in leaves), *zip(right, after)]  # noqa: B905
    stack: list[Any] = []
    for height, value in parts:
        while stack and stack[-1][0] == height:
            value, height = node(stack.pop()[1], value), height + 1
        stack.append((height, value))
    if not stack:
        return sha256(b"")
    root: bytes = stack.pop()[1]
    while stack:
        root = node(stack.pop()[1], root)
    return root


def grew(old: int, old_root: bytes, new: int, new_root: bytes, proof: list[Any]) -> bool:
    """Whether a consistency proof holds (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = ([old_root] if old & (old - 1) == 0 else []) + proof
    if not path:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    first = second = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            first, second = node(one, first), node(one, second)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            second = node(second, one)
        here, last = here >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


# --- Signed notes and checkpoints (C2SP) ---
class Wrong(Exception):
    """The bundle does not verify."""


def need(holds: bool, otherwise: str) -> None:
    """Raise unless something holds."""
    if not holds:
        raise Wrong(otherwise)


def unbase64(text: str) -> bytes:
    """The bytes, when the text is their only encoding."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Wrong("something is not base64") from None
    need(base64.b64encode(raw).decode() == text, "something is not base64 in its only form")
    return raw


def parse_key(text: str) -> tuple[Any, ...]:
    """Name, id, kind and public key of a verifier key."""
    name, _, rest = text.strip().partition("+")
    key_id, _, material = rest.partition("+")
    raw = unbase64(material)
    need(len(raw) == 33 and raw[0] in (1, 4), "a verifier key is not of Ed25519")
    need(sha256(name.encode() + b"\n" + raw)[:4].hex() == key_id, "a verifier key has a wrong id")
    return name, bytes.fromhex(key_id), raw[0], raw[1:]


def open_note(raw: bytes, keys: list[Any]) -> tuple[Any, ...]:
    """The text of a note, and the keys that signed it with the times that they tell."""
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise Wrong("a note is not UTF-8") from None
    need(not re.search("[\x00-\x09\x0b-\x1f]", whole), "a note holds control characters")
    at = whole.rfind("\n\n")
    need(at >= 0 and whole.endswith("\n"), "a note has no signatures")
    text = whole[: at + 1]
    found: dict[Any, int] = {}
    for line in whole[at + 2 : -1].split("\n"):
        parts = line.split(" ")
        need(len(parts) == 3 and parts[0] == "\u2014", "a signature line is malformed")
        signature = unbase64(parts[2])
        for key in keys:
            if (key[0], key[1]) != (parts[1], signature[:4]):
                continue
            message, told, seconds = text.encode(), signature[4:], 0
            if key[2] == 4:
                seconds = int.from_bytes(told[:8], "big")
                message = f"cosignature/v1\ntime {seconds}\n".encode() + message
                told = told[8:]
            need(signed_by(key[3], message, told), f"the signature of {key[0]} is wrong")
            found[key] = seconds
    return text, found


def parse_checkpoint(text: str) -> tuple[Any, ...]:
    """Origin, size and root."""
    lines = text.split("\n")
    need(len(lines) == 4 and not lines[3], "a checkpoint is not three lines")
    need(bool(re.match(r"(?:0|[1-9][0-9]{0,18})\Z", lines[1], re.A)), "a size is malformed")
    root = unbase64(lines[2])
    need(len(root) == 32, "a root is not a SHA-256")
    return lines[0], int(lines[1]), root


# --- The bundle ---
class Bundle:
    """A folder that a bundle was unpacked into."""

    def __init__(self, folder: str, keys: list[Any], witnesses: list[Any], quorum: int) -> None:
        self.folder = folder
        self.keys = keys
        self.witnesses = witnesses
        self.quorum = quorum
        self.about = json.loads(self.read("bundle.json"))
        self.lines: list[Any] = []

    def read(self, name: str) -> bytes:
        """A file of it."""
        try:
            with open(os.path.join(self.folder, name), "rb") as file:  # noqa: PTH118, PTH123
                return file.read()
        except OSError as error:
            raise Wrong(f"{name} can't be read: {error.strerror}") from None

    def names(self, folder: str) -> list[Any]:
        """The files in one of its folders."""
        path = os.path.join(self.folder, folder)  # noqa: PTH118
        return sorted(os.listdir(path)) if os.path.isdir(path) else []  # noqa: PTH112, PTH208

    def checkpoint(
        self, name: str, origin: str, max_age: int | None, *, newest: bool
    ) -> tuple[Any, ...]:
        """A checkpoint, signed by its log, and, if it is the newest, by as many of the witnesses as
        are asked for, none of them longer ago than `max_age`."""
        own = [key for key in self.keys if key[0] == origin and key[2] == 1]
        need(bool(own), f"no key is given for the log {origin}")
        text, signers = open_note(self.read(name), own + self.witnesses)
        need(any(key in signers for key in own), f"{name} is not signed by its log")
        told, size, root = parse_checkpoint(text)
        need(told == origin, f"{name} is of the log {told}")
        if newest:
            lacking: list[Any] = []
            for witness in sorted(set(self.witnesses)):
                age = int(time.time()) - signers.get(witness, 0)
                if witness not in signers:
                    lacking.append(f"{name} is not cosigned by {witness[0]}")
                elif max_age is not None and age > max_age:
                    lacking.append(f"{name} was cosigned {age} s ago by {witness[0]}")
            there = len(set(self.witnesses)) - len(lacking)
            need(there >= self.quorum, "; ".join(lacking) + f"; {self.quorum} must have")
        return size, root

    def verify(self, max_age: int | None) -> list[Any]:
        """Check everything; returns what was found, in words. Raises `Wrong`."""
        about = self.about
        need(about["format"] == "configtrail/bundle@v1", "this bundle is of another format")
        size, root = self.checkpoint("checkpoint", about["log"], max_age, newest=True)
        stream_size, stream_root = self.checkpoint(
            "stream-checkpoint", about["stream_log"], max_age, newest=True
        )
        say = [f"the checkpoints of both logs are signed: {size} and {stream_size} events"]
        events = self.events()
        leaves = [leaf for _, _, leaf in events]
        say.append(f"{len(events)} events are in order, each of the tenant")
        say += self.complete(events, leaves, size, root)
        say += self.in_stream(events, stream_size, stream_root)
        say += self.older(size, root)
        return say + self.contents({position: body for position, body, _ in events})

    def events(self) -> list[Any]:
        """Position, body and leaf hash of every event."""
        found: list[Any] = []
        for line in self.read("events.jsonl").split(b"\n")[:-1]:
            one = json.loads(line)
            position, stored_ns = one["position"], one["stored_ns"]
            block, body = unbase64(one["headers"]), unbase64(one["body"])
            need(not found or position > found[-1][0], f"event {position} is out of order")
            parts = one["subject"].split(".")
            need(
                len(parts) == 4 and parts[1] == self.about["tenant_token"],
                f"event {position} is of another tenant",
            )
            names = [row.partition(b":")[0].lower() for row in block.split(b"\r\n")[1:-2]]
            need(len(set(names)) == len(names), f"event {position} has a header twice")
            subject, stream = one["subject"].encode(), self.about["stream"].encode()
            data = b"configtrail/leaf/v1\n" + struct.pack(">H", len(stream)) + stream
            data += struct.pack(">QQH", position, stored_ns, len(subject)) + subject
            data += sha256(block) + struct.pack(">Q", len(body)) + sha256(body)
            low, high = self.about["from_ns"], self.about["to_ns"]
            need(low <= stored_ns <= high, f"event {position} was stored at another time")
            found.append((position, body, sha256(b"\x00" + data)))
        return found

    def complete(self, events: list[Any], leaves: list[Any], size: int, root: bytes) -> list[Any]:
        """The stretch, with the leaf before and the one after it, is what the log holds there."""
        about, say = self.about, []
        start, inside = about["index"], list(leaves)
        edges = (
            (about["leaf_before"], about["from_ns"], "before"),
            (about["leaf_after"], about["to_ns"], "after"),
        )
        for encoded, limit, side in edges:
            if encoded is None:
                continue
            leaf = unbase64(encoded)
            name = len(self.about["stream"].encode())
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
        say.append("they are all that the tenant's log holds of this time, and nothing else")
        return say

    def in_stream(self, events: list[Any], size: int, root: bytes) -> list[Any]:
        """Every event stands at its place in the log of the stream."""
        if not events:
            return []
        about, raw = self.about["in_stream"], self.read("stream-leaves.bin")
        leaves = [raw[at : at + 32] for at in range(0, len(raw), 32)]
        first = events[0][0]
        before = [unbase64(one) for one in about["before"]]
        after = [unbase64(one) for one in about["after"]]
        made = stretch_root(first - 1, before, leaves, after, size)
        need(made == root, "the stream's leaves are not what its log holds")
        for position, _, leaf in events:
            need(
                position - first < len(leaves) and leaves[position - first] == leaf,
                f"event {position} is not at its place in the stream's log",
            )
        return ["each stands at its place in the log of the whole stream"]

    def older(self, size: int, root: bytes) -> list[Any]:
        """Older checkpoints are of the same history."""
        count = 0
        for name in self.names("checkpoints"):
            if not name.endswith(".note"):
                continue
            path = "checkpoints/" + name
            old, old_root = self.checkpoint(path, self.about["log"], None, newest=False)
            proof = self.read(path[: -len(".note")] + ".proof").decode().split("\n")[:-1]
            holds = grew(old, old_root, size, root, [unbase64(one) for one in proof])
            need(holds, f"the checkpoint of size {old} is of another history")
            count += 1
        return [f"{count} older checkpoints are of the same history"] if count else []

    def contents(self, bodies: dict[Any, Any]) -> list[Any]:
        """Texts are what their events committed to."""
        count = 0
        for name in self.names("content"):
            if not name.endswith(".txt"):
                continue
            position = int(name[: -len(".txt")])
            need(position in bodies, f"content/{name} is of no event")
            salt = bytes.fromhex(self.read(f"content/{position}.salt").decode().strip())
            commitment = json.loads(bodies[position])["content"]["commitment"]
            made = sha256(salt + self.read("content/" + name)).hex()
            need(made == commitment, f"content/{name} is not the text that was recorded")
            count += 1
        return [f"{count} texts are those that their events committed to"] if count else []


def main(arguments: list[Any]) -> int:
    """Verify the bundle that the arguments name; returns the exit status."""
    parser = argparse.ArgumentParser(description="Checks a Configtrail audit bundle, offline.")
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    parser.add_argument("folder", nargs="?", default=here)
    parser.add_argument("--key", action="append", default=[], help="a log's verifier key")
    parser.add_argument("--witness", action="append", default=[], help="a witness's key")
    parser.add_argument("--max-age", type=int, help="seconds since the witnesses cosigned")
    parser.add_argument("--quorum", type=int, help="how many of the witnesses; default: all")
    given = parser.parse_args(arguments)
    try:
        keys, witnesses = [parse_key(one) for one in given.key], list(map(parse_key, given.witness))
        if given.max_age is not None and not witnesses:
            raise Wrong("--max-age needs --witness: only a witness tells a time")
        quorum = len(set(witnesses)) if given.quorum is None else given.quorum
        if not 0 <= quorum <= len(set(witnesses)) or (given.quorum is not None and quorum < 1):
            raise Wrong("--quorum must be from 1 to the number of --witness")
        bundle = Bundle(given.folder, keys, witnesses, quorum)
        if not keys:
            sys.stdout.write(
                "WARNING: no --key given. The keys are those in the bundle: this shows that it\n"
                "is whole, and NOT that it is from whom it says. Ask for the keys elsewhere.\n"
            )
            bundle.keys = [
                parse_key(one) for one in bundle.read("keys").decode().split("\n") if one
            ]
        for line in bundle.verify(given.max_age):
            sys.stdout.write(f"ok: {line}\n")
    except Wrong as error:
        sys.stdout.write(f"FAILED: {error}\n")
        return 1
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        sys.stdout.write(f"FAILED: the bundle is malformed ({type(error).__name__})\n")
        return 1
    sys.stdout.write("VERIFIED\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
