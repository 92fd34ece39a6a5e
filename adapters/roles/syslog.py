"""The syslog listener: a device that tells of a change is collected when it has come to rest.

UDP and TCP on one port. A message of somebody unknown is dropped and counted, and a connection of
theirs closed at once; one message more or less changes nothing, since the schedule comes round
anyway.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from typing import Final

from adapters.observability.metrics import Metrics
from adapters.syslog.connections import Connections
from adapters.syslog.messages import Framer, parse
from adapters.syslog.senders import Key, Senders
from domain.errors import InvalidInput

log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 5.0
# A device that never comes to rest is collected all the same, but not more often than this.
LONGEST_SECONDS: Final = 60.0
_READ_BYTES: Final = 64 * 1024
_REFRESH_SECONDS: Final = 2.0


class SyslogListener:
    """Listens on `host:port`. `hear` is told at once of a device that changes, `hurry` collects it
    when it came to rest."""

    def __init__(
        self,
        listen: str,
        *,
        senders: Senders,
        hear: Callable[[str, str], None],
        hurry: Callable[[str, str], bool],
        metrics: Metrics,
        quiet: float = QUIET_SECONDS,
        longest: float = LONGEST_SECONDS,
        connections: Connections | None = None,
    ) -> None:
        self._host, self._port = _listen_address(listen)
        self._senders = senders
        self._hear = hear
        self._hurry = hurry
        self._metrics = metrics
        self._quiet = quiet
        self._longest = longest
        self._since: dict[Key, float] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._connections = connections or Connections()
        self.started: asyncio.Future[int] | None = None

    async def run(self) -> None:
        """Listen until cancelled. Raises `InvalidInput` when the address can't be had."""
        loop = asyncio.get_running_loop()
        try:
            server = await asyncio.start_server(self._serve, self._host, self._port)
            port = server.sockets[0].getsockname()[1]
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self.take), (self._host, port)
            )
        except OSError as error:
            raise InvalidInput(
                "CONFIGTRAIL_SYSLOG_LISTEN",
                f"{self._host} port {self._port} can't be listened on ({error.strerror})",
            ) from error
        if self.started is not None:
            self.started.set_result(port)
        try:
            while True:
                await self._senders.refresh()
                await asyncio.sleep(_REFRESH_SECONDS)
        finally:
            transport.close()
            server.close()
            self._connections.close_all()
            for timer in self._timers.values():
                timer.cancel()

    def take(self, raw: bytes, address: str) -> None:
        """One message from an address. Who is not heard costs no reading."""
        if not self._senders.hears(address):
            self._metrics.syslog_messages.labels("unknown sender").inc()
            return
        message = parse(raw)
        found = self._senders.find(address, message.host)
        if not found:
            self._metrics.syslog_messages.labels("unknown sender").inc()
        elif not message.changed:
            self._metrics.syslog_messages.labels("no change").inc()
        else:
            self._metrics.syslog_messages.labels("change").inc()
            for key in found:
                self._heard(key)

    def _heard(self, key: Key) -> None:
        """Wait until the device was quiet for a while, but not for ever."""
        loop = asyncio.get_running_loop()
        if key not in self._since:
            self._hear(*key)
        since = self._since.setdefault(key, loop.time())
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        at = min(loop.time() + self._quiet, since + self._longest)
        self._timers[key] = loop.call_at(at, self._rested, key)

    def _rested(self, key: Key) -> None:
        del self._timers[key], self._since[key]
        if self._hurry(*key):
            log.info("%s/%s told of a change; it is collected", *key)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if peer is None or not self._senders.hears(str(peer[0])):
            # Whoever sends nothing that counts must not keep a device's place.
            self._metrics.syslog_messages.labels("unknown sender").inc()
            writer.close()
            return
        address = str(peer[0])
        framer = Framer()
        self._connections.opened(writer, address)
        try:
            while self._senders.hears(address) and (data := await reader.read(_READ_BYTES)):
                self._connections.heard(writer)
                for raw in framer.feed(data):
                    self.take(raw, address)
        except (OSError, ValueError) as error:
            log.info("a syslog connection was ended: %s", type(error).__name__)
        finally:
            self._connections.closed(writer)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, str], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr[0])


def _listen_address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InvalidInput("CONFIGTRAIL_SYSLOG_LISTEN", "must be host:port, such as 0.0.0.0:514")
    return host.strip("[]") or "0.0.0.0", int(port)


def relay_networks(relays: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Networks with commas between them. Raises `InvalidInput`."""
    found = []
    for one in filter(None, (part.strip() for part in relays.split(","))):
        try:
            found.append(ipaddress.ip_network(one))
        except ValueError:
            raise InvalidInput(
                "CONFIGTRAIL_SYSLOG_RELAYS", "must be networks such as 192.0.2.0/24, with commas"
            ) from None
    return found
