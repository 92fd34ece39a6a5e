"""What our servers have in common: a folder, a port, a log, a start that is awaited, an end."""

from __future__ import annotations

import abc
import asyncio
import signal
from pathlib import Path

import structlog

from adapters.embedded.errors import ServerFailed
from adapters.embedded.process import Child, end_stale, forget, free_port, log_tail

_log = structlog.get_logger(__name__)

_POLL = 0.01
_SAY_EVERY = 5.0
_PORT_TRIES = 5
_LOG_LIMIT = 8 * 1024 * 1024


class EmbeddedServer(abc.ABC):
    """A server process on the loopback with its data in one folder.

    `start()` after `stop()`, `kill()` or a crash reuses the data and the port.
    """

    service: str
    # Recovery after a crash may take minutes on a large history; until then it says so.
    start_within: float = 600
    stop_signals: tuple[signal.Signals, ...]
    stop_within: float = 20

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.log = self.data_dir / "server.log"
        self._record = self.data_dir / "process.json"
        self._fixed_port = port is not None
        self._port = port
        self._child: Child | None = None
        self._log_start = 0

    @property
    def port(self) -> int:
        """The TCP port; known after the first start."""
        if self._port is None:
            raise RuntimeError(f"the embedded {self.service} was never started")
        return self._port

    @property
    def pid(self) -> int:
        """The id of the running process."""
        if not self.running:
            raise RuntimeError(f"the embedded {self.service} is not running")
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and not self._child.ended

    async def start(self) -> None:
        """Start it and wait until it serves.

        Raises `ServerFailed` with the end of the log when it ends instead, or takes too long.
        """
        if self.running:
            raise RuntimeError(f"the embedded {self.service} runs already")
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await end_stale(self._record, *self.stop_signals, within=self.stop_within)
        self._turn_log()
        await self._prepare()
        tries = 1 if self._port is not None else _PORT_TRIES
        for remaining in reversed(range(tries)):
            port = self._port if self._port is not None else free_port()
            try:
                await self._start_on(port)
            except ServerFailed as error:
                if remaining and "address already in use" in error.tail.lower():
                    continue
                raise
            self._port = port
            return

    async def stop(self) -> None:
        """End it in good order, or by force after `stop_within` seconds for each signal."""
        if self._child is not None:
            await self._child.end(*self.stop_signals, within=self.stop_within)
            forget(self._record)

    async def kill(self) -> None:
        """SIGKILL, for tests of faults. Returns when it has ended."""
        if self._child is not None:
            await self._child.end()

    async def ended(self) -> int:
        """Wait until the process has ended, for whatever reason; its exit status."""
        assert self._child is not None
        return await self._child.wait()

    async def _start_on(self, port: int) -> None:
        deadline = asyncio.get_running_loop().time() + self.start_within
        while True:
            self._log_start = self.log.stat().st_size if self.log.exists() else 0
            self._child = await self._spawn(port)
            try:
                if await self._serves(self._child, port, deadline):
                    return
            except BaseException:
                await self._child.end()
                raise
            status = await self._child.wait()
            failure = self._failure(f"it ended with status {status} instead of starting")
            if not self._worth_another_try(failure.tail):
                raise failure
            if asyncio.get_running_loop().time() > deadline:
                raise failure
            await asyncio.sleep(5 * _POLL)

    async def _serves(self, child: Child, port: int, deadline: float) -> bool:
        """Wait until it serves (True) or has ended (False)."""
        reason = "it never answered"
        clock = asyncio.get_running_loop().time
        say_at = clock() + _SAY_EVERY
        while not child.ended:
            try:
                await self._probe(port)
            except (OSError, TimeoutError) as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                return not child.ended
            if clock() > say_at:
                say_at = clock() + _SAY_EVERY
                _log.info("embedded_server_is_starting", server=self.service, reason=reason)
            if clock() > deadline:
                raise self._failure(f"it does not serve after {self.start_within:g} s ({reason})")
            await asyncio.sleep(_POLL)
        return False

    def _failure(self, reason: str) -> ServerFailed:
        return ServerFailed(self.service, reason, self.log, log_tail(self.log, self._log_start))

    def _turn_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _worth_another_try(self, tail: str) -> bool:
        """Whether a start that failed so will succeed soon by itself."""
        return False

    @abc.abstractmethod
    async def _prepare(self) -> None:
        """Make what a start needs besides the port."""

    @abc.abstractmethod
    async def _spawn(self, port: int) -> Child:
        """Start the process."""

    @abc.abstractmethod
    async def _probe(self, port: int) -> None:
        """Return when the server serves us; `OSError` or `TimeoutError` when not yet."""
