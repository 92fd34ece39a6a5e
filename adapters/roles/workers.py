"""Worker processes for what would hold the interpreter's lock too long.

Each piece of work is bounded in memory and in the processor's time, so that what comes of it does
not depend on how busy the machine is. What goes beyond is stopped with its process, and the next
work gets another one.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast

from adapters.embedded.launch import die_with_parent
from domain.errors import WorkStopped

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Of the processor's time.
SECONDS: Final = 5.0
# By the clock, after which work must be stuck.
PATIENCE: Final = 120.0
MEMORY: Final = 1024 * 1024 * 1024
# A process may take long to start on a busy machine; that is not the work's fault.
START: Final = 60.0
# How a process ends that is out of memory: there may be none left for saying so.
_OUT_OF_MEMORY: Final = 77
_ENDINGS: Final[Mapping[int | None, Literal["time", "memory"]]] = {
    _OUT_OF_MEMORY: "memory",
    -signal.SIGPROF: "time",
}
_SPAWN = multiprocessing.get_context("spawn")


class Workers(Executor):
    """A pool whose processes start on demand and never outlive this program.

    Work fails with `WorkStopped` when it took too long or too much memory, or when its process was
    killed, or did not start in time: no other work fails with it.
    """

    def __init__(
        self,
        processes: int,
        *,
        seconds: float = SECONDS,
        memory: int = MEMORY,
        patience: float = PATIENCE,
        start: float = START,
    ) -> None:
        self._seconds = seconds
        self._memory = memory
        self._patience = patience
        self._start = start
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        # One thread waits for one process.
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="workers")

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`."""
        return self._threads.submit(self._carry_out, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`. What is under way ends, or is stopped at its bound."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        while (worker := self._taken()) is not None:
            worker.stop()

    def _carry_out(
        self, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, Any]
    ) -> T:
        worker = self._taken() or _Worker(self._seconds, self._memory, self._start)
        try:
            answer = worker.answer((fn, args, kwargs), self._patience)
        except BaseException as error:
            worker.stop()
            if isinstance(error, WorkStopped):
                log.warning(
                    "a worker process was stopped; the next work gets another",
                    extra={"reason": error.reason},
                )
            raise
        self._idle.put(worker)
        if isinstance(answer, _Failed):
            raise answer.error
        return cast(T, answer)

    def _taken(self) -> _Worker | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None


class _Failed:
    """Work that raised an error of its own."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Worker:
    """A process, and the line to it."""

    def __init__(self, seconds: float, memory: int, start: float) -> None:
        self._line, other_end = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(other_end, os.getpid(), seconds, memory), daemon=True
        )
        self._process.start()
        other_end.close()
        self._start = start
        self._ready = False

    def answer(self, work: object, patience: float) -> object:
        """What the work gives, or how it failed. After `WorkStopped` it is of no more use."""
        if not self._ready:
            self._heard(self._start, "killed")
            self._ready = True
        try:
            self._line.send(work)
        except OSError as error:
            raise WorkStopped("killed") from error
        return self._heard(patience, "time")

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._line.close()
        self._process.kill()
        self._process.join()
        self._process.close()

    def _heard(self, seconds: float, or_else: Literal["time", "killed"]) -> object:
        try:
            if not self._line.poll(seconds):
                raise WorkStopped(or_else)
            return self._line.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            raise WorkStopped(_ENDINGS.get(self._process.exitcode, "killed")) from error


def _serve(line: Connection, parent: int, seconds: float, memory: int) -> None:
    """Work off what comes, until the other end is closed, or memory or time are used up."""
    # An interrupt from the terminal reaches the whole group; the program ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(signal.SIGKILL, parent)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # Work makes millions of objects, and next to no cycles: they are looked for after it.
    gc.disable()
    gc.freeze()
    line.send(None)
    try:
        while True:
            work = line.recv()
            # Nobody handles this signal: it ends the process, in native code as well.
            signal.setitimer(signal.ITIMER_PROF, seconds)
            answer = _done(*work)
            signal.setitimer(signal.ITIMER_PROF, 0)
            line.send(answer)
            gc.collect()
    except EOFError:
        return
    except (MemoryError, SystemError):
        # Native code that gets no memory sometimes fails without saying so: Python's SystemError.
        # What is left of the memory is in pieces: the process is of no more use.
        os._exit(_OUT_OF_MEMORY)


def _done(fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, Any]) -> object:
    try:
        return fn(*args, **kwargs)
    except (MemoryError, SystemError):
        raise
    except Exception as error:  # noqa: BLE001  it is raised again where the work was asked for
        return _Failed(error)
