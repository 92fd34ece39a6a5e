"""Posting to a witness, which may answer slowly, with nonsense, or never: in bounded time."""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from typing import Any, Final

from msgspec import Struct

from adapters.exchange import Exchange, PlainExchange, SecureExchange
from adapters.lookups import LookUps
from adapters.outgoing import straight

TIMEOUT_SECONDS = 5.0
_ANSWER_MAX = 64 * 1024
_PIECE = 4096
# Looking for a witness's name can't be ended from outside. More witnesses than that whose names
# nobody tells would hold up the others, and none the program's end.
_THREADS: Final = LookUps(32, "witness")


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
        exchange = Exchange(self._seconds)
        # Never cancelled: as long as its thread is busy, nothing else is asked of that witness.
        asking = asyncio.wrap_future(_THREADS.begin(_post, url, body, exchange))
        # Nobody is told what becomes of one that was given up.
        asking.add_done_callback(lambda one: one.cancelled() or one.exception())
        self._asking[url] = asking
        try:
            done, _ = await asyncio.wait([asking], timeout=self._seconds)
        finally:
            # Its thread is free for others then, unless it waits for a name server.
            exchange.end()
        if not done:
            raise OSError(f"it does not answer within {self._seconds:g} s")
        return asking.result()


def _post(url: str, body: bytes, exchange: Exchange) -> Answered:
    request = urllib.request.Request(url, data=body, method="POST")
    opener = straight(PlainExchange(exchange), SecureExchange(exchange))
    try:
        try:
            answer = opener.open(request, timeout=exchange.seconds)
        except urllib.error.HTTPError as error:
            with error:
                return Answered(error.code, _read(error))
        with answer:
            return Answered(answer.status, _read(answer))
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"its answer is no HTTP ({type(error).__name__})") from error


def _read(answer: Any) -> bytes:
    found = b""
    while len(found) < _ANSWER_MAX and (piece := answer.read1(_PIECE)):
        found += piece
    return found
