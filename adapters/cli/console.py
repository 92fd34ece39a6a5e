"""Where output goes: results on stdout, everything else on stderr. Both without colours when they
are not a terminal, or when NO_COLOR is set."""

from __future__ import annotations

import json
import os
import re
import sys

import msgspec
from msgspec import Struct
from pydantic import BaseModel
from rich.console import Console

from domain.errors import ConfigtrailError

# In a pipe there is no width to keep to: a folded line would only be harder to search.
_PIPE_WIDTH = 200

out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True, highlight=False)

# C0 and C1 control characters (ECMA-48) but for tab and line feed, and what reorders or hides text
# (Unicode bidirectional controls and zero-width characters, TR 36). Half a surrogate pair, as which
# a byte is told that is no UTF-8, could not be written at all.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def harmless(text: str) -> str:
    """The text with everything spelt out that could steer a terminal, or could not be written: ESC
    becomes `\\x1b`."""
    return _HARMFUL.sub(_spelt, text)


def _spelt(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


class OutputFailed(ConfigtrailError):
    """What a command tells can't be written."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the output can't be written: {reason}")
        self.reason = reason


def write(text: str) -> None:
    """Write to stdout now. Raises `OutputFailed`, but for a reader that has enough."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still in the buffer would fail again at exit, with Python's own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputFailed(error.strerror or type(error).__name__) from error


def print_json(value: object) -> None:
    """One JSON document on stdout, in ASCII: nothing in it can steer a terminal."""
    write(json.dumps(_plain(value), indent=2) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        return msgspec.to_builtins(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
