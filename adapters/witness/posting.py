"""Posting to a witness, which may answer slowly, with nonsense, or never: in bounded time."""

from __future__ import annotations

import asyncio
import http.client
import time
import urllib.error
import urllib.request
from typing import Any

from msgspec import Struct

from adapters.outgoing import straight

TIMEOUT_SECONDS = 5.0
_ANSWER_MAX = 64 * 1024
_PIECE = 4096


class Answered(Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes


class Poster:
    """Asks one at a time of each: who has not finished answering is not asked anew meanwhile."""

    def __init__(self, seconds: float = TIMEOUT_SECONDS) -> None:
        self._seconds = seconds
        self._asking: dict[str, asyncio.Future[Answered]] = {}

    async def __call__(self, url: str, body: bytes) -> Answered:
        """What it answers. Raises `OSError` when that is not HTTP or not there in time."""
        former = self._asking.get(url)
        if former is not None and not former.done():
            raise OSError("it is still answering what it was asked before")
        asking = asyncio.ensure_future(asyncio.to_thread(_post, url, body, self._seconds))
        self._asking[url] = asking
        done, _ = await asyncio.wait([asking], timeout=self._seconds)
        if not done:
            raise OSError(f"it does not answer within {self._seconds:g} s")
        return asking.result()


def _post(url: str, body: bytes, seconds: float) -> Answered:
    request = urllib.request.Request(url, data=body, method="POST")
    opener = straight()
    deadline = time.monotonic() + seconds
    try:
        try:
            answer = opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            with error:
                return Answered(error.code, _read(error, deadline))
        with answer:
            return Answered(answer.status, _read(answer, deadline))
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"its answer is no HTTP ({type(error).__name__})") from error


def _read(answer: Any, deadline: float) -> bytes:
    """The body, unless it comes too slowly."""
    found = b""
    while len(found) < _ANSWER_MAX and (piece := answer.read1(_PIECE)):
        found += piece
        if time.monotonic() > deadline:
            raise OSError("its answer comes too slowly")
    return found
