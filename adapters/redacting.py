"""Taking the secrets out of a text for who reads it, in a worker process: a text made to be slow is
stopped, and holds nobody else up."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Final

from domain.errors import RedactionStopped, Unavailable, WorkStopped
from domain.redaction import Redactor, redacted

# Texts of 64 MiB may be recorded; nearly all take milliseconds.
SECONDS: Final = 20.0


async def shown(text: bytes, platform: str, redactor: Redactor, workers: Executor | None) -> bytes:
    """The text with its secrets as keyed hashes.

    Raises `NotRedactable`, `Unavailable` when the process was killed by something else.
    """
    loop = asyncio.get_running_loop()
    try:
        return (
            await loop.run_in_executor(workers, redacted, text.decode(), platform, redactor)
        ).encode()
    except WorkStopped as stopped:
        if stopped.reason == "killed":
            raise Unavailable("what hides secrets", "its process was killed") from stopped
        raise RedactionStopped(platform, stopped.reason) from stopped
