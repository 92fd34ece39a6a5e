"""How large a text may be for its rules: beyond it only lines are looked at.

The rules of a platform keep some hundred bytes for each line, and whoever sends texts must not be
able to fill the recorder's memory. No device has such a configuration.
"""

from __future__ import annotations

from typing import Final

MAX_CHARACTERS: Final = 16 * 1024 * 1024
MAX_LINES: Final = 500_000
TOO_LARGE: Final = (
    f"longer than {MAX_LINES:,} lines or {MAX_CHARACTERS:,} characters: it is compared as plain "
    "text, and whether it is complete is not known"
)


def is_too_large(text: str) -> bool:
    """Whether a text has more lines or characters than any rules but the plain ones take."""
    return len(text) > MAX_CHARACTERS or text.count("\n") + text.count("\r") > MAX_LINES
