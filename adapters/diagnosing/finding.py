"""What a check tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

Verdict = Literal["fine", "notice", "wrong"]
CLOCK_SECONDS = 2.0


class Finding(Struct, frozen=True):
    """What a check found. `mend` says what to do about it."""

    subject: str
    verdict: Verdict
    told: str
    mend: str | None = None


def skew(subject: str, theirs: datetime) -> list[Finding]:
    """Whether a clock agrees with this machine's."""
    away = abs(theirs - datetime.now(UTC))
    if away > timedelta(seconds=CLOCK_SECONDS):
        return [
            Finding(
                subject,
                "wrong",
                f"it is {away.total_seconds():.0f} s away from this machine's",
                "let all machines follow one time server",
            )
        ]
    return [Finding(subject, "fine", f"agrees with this machine's within {CLOCK_SECONDS:g} s")]
