"""JSON over HTTP from servers that an administrator names."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from threading import Event, Timer
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.exchange import Exchange, PlainExchange, SecureExchange
from adapters.outgoing import straight
from domain.errors import ConfigtrailError

SECONDS: Final = 30.0
MOST_BYTES: Final = 64 * 1024 * 1024


class HttpFailed(ConfigtrailError):
    """A server did not answer as it must. `reason` quotes nothing of its answer."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host}: {reason}")
        self.reason = reason


def host_of(url: str) -> str:
    """The host and port of a URL, without the user and password that it may name."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "the server"
    return f"{parts.hostname or 'the server'}{port}"


def get_json(url: str, headers: Mapping[str, str], seconds: float = SECONDS) -> dict[str, Any]:
    """The JSON object at a URL; blocks, for so many seconds at most. Raises `HttpFailed`."""
    host = host_of(url)
    if not url.lower().startswith(("http://", "https://")):
        raise HttpFailed(host, "its address must begin with http:// or https://")
    if "@" in url.split("/")[2]:
        raise HttpFailed(host, "its address must name no user and no password: it takes a token")
    request = urllib.request.Request(url, headers={"Accept": "application/json", **headers})
    body = _body(request, host, seconds)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HttpFailed(host, "its answer is no JSON object")
    return found


def _body(request: urllib.request.Request, host: str, seconds: float) -> bytes:
    """What is answered. Whoever says a byte now and then has no more time than others."""
    exchange, over = Exchange(seconds), Event()

    def end() -> None:
        over.set()
        exchange.end()

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    opener = straight(PlainExchange(exchange), SecureExchange(exchange))
    failed = ""
    body = b""
    try:
        with opener.open(request, timeout=seconds) as answer:
            body = answer.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        error.close()  # its answer is open still
        failed = f"it answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Its type only: it may quote the address, or what the server said.
        failed = f"it can't be asked ({type(error).__name__})"
    finally:
        timer.cancel()
        exchange.end()
    if over.is_set():
        failed = f"it has not answered within {seconds:g} s"
    if failed:
        raise HttpFailed(host, failed)
    return body
