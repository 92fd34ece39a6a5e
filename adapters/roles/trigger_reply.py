"""What a collector may answer on `config.backup.trigger`: checked, and its words made harmless."""

from __future__ import annotations

import re
from typing import Literal, cast

import msgspec
from msgspec import Struct

REPLY_MAX = 64 * 1024
WORDS_MAX = 300
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

Status = Literal["success", "failed", "locked"]


class BadReply(ValueError):
    """The answer is not of the agreed form. The message says which rule it breaks."""


class Reply(Struct, frozen=True):
    """A collector's answer. `sha256_hash` is lower-case hex, of the text that it published."""

    status: Status
    sha256_hash: str | None
    message: str | None
    error: str | None


class _Wire(Struct, frozen=True):
    status: str
    sha256_hash: str | None = None
    message: str | None = None
    error: str | None = None


_decoder = msgspec.json.Decoder(_Wire)


def parse_reply(body: bytes) -> Reply:
    """The answer in a reply's body; raises `BadReply`, which quotes nothing of it."""
    if len(body) > REPLY_MAX:
        raise BadReply(f"it has more than {REPLY_MAX} bytes")
    try:
        wire = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadReply(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadReply("it is not JSON") from error
    if wire.status not in ("success", "failed", "locked"):
        raise BadReply("status must be success, failed or locked")
    sha256 = (wire.sha256_hash or "").lower() or None
    if sha256 is not None and not _SHA256.match(sha256):
        raise BadReply("sha256_hash must be 64 hexadecimal digits")
    return Reply(cast(Status, wire.status), sha256, wire.message, wire.error)


def clean(words: str) -> str:
    """One short line of printable characters: fit for events, logs and terminals."""
    line = " ".join("".join(one if one.isprintable() else " " for one in words).split())
    return line if len(line) <= WORDS_MAX else line[: WORDS_MAX - 1] + "…"
