"""Signed notes, checkpoints and keys (C2SP)."""

from __future__ import annotations

import base64
import re
from typing import Any

from adapters.tlog.offline.ed25519 import signed_by
from adapters.tlog.offline.trees import Wrong, need, sha256


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
    need(whole.count("\n") < 100, "a note has too many signatures")
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
