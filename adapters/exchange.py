"""One exchange over HTTP that can be ended from outside, wherever it is.

A socket's time limit is one for each read: whoever sends a byte now and then is never too late.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.request
from contextlib import suppress
from functools import partial
from typing import Any


class Exchange:
    """The connections of one exchange. `end` it from another thread: whoever waits for what comes
    on them finds that nothing more does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._held: list[socket.socket] = []
        self._ended = False

    def connect(self, address: tuple[str, int], *_: Any) -> socket.socket:
        """As `socket.create_connection`; the time is for all addresses together. Raises `OSError`
        when it is over."""
        host, port = address
        failure: OSError | None = None
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _name, place in found:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("it can't be reached in time")
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(left)
                made.connect(place)
                self._hold(made)
            except OSError as error:
                made.close()
                failure = error
            else:
                return made
        raise failure or OSError("its name has no address")

    def end(self) -> None:
        """Nothing more goes out or comes in. As often as one likes."""
        with self._lock:
            self._ended = True
            for one in self._held:
                with suppress(OSError):  # the other side was quicker
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._held.clear()

    def _hold(self, made: socket.socket) -> None:
        with self._lock:
            if self._ended:
                raise TimeoutError("its time is over")
            # A second handle: TLS takes the first one for its own.
            self._held.append(made.dup())


class PlainExchange(urllib.request.HTTPHandler):
    """Opens `http` URLs over an exchange's connections."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `urllib.request.HTTPHandler`."""
        return self.do_open(partial(_Plain, exchange=self._exchange), req)


class SecureExchange(urllib.request.HTTPSHandler):
    """Opens `https` URLs over an exchange's connections."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `urllib.request.HTTPSHandler`."""
        return self.do_open(partial(_Secure, exchange=self._exchange), req)


class _Plain(http.client.HTTPConnection):
    def __init__(self, host: str, *, exchange: Exchange, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._create_connection = exchange.connect


class _Secure(http.client.HTTPSConnection):
    def __init__(self, host: str, *, exchange: Exchange, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._create_connection = exchange.connect
