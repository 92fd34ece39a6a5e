"""Sessions of a Postgres that may stand still: whoever asks is told so in time.

A server that is stopped, or a machine that hangs, keeps its connections and ends no statement: who
waits for it would wait without bound. A statement that takes long says nothing by itself, so a new
connection is asked for then. Where none is to be had, the statements that wait are given up with
their sessions, and nobody is made to wait again before the server answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import asyncpg

from domain.errors import Unavailable

log = logging.getLogger(__name__)

# Nearly all statements take a fraction of it.
LONG_SECONDS: Final = 3.0
# A busy server still greets sooner. A program that was held up itself may see the clock before the
# greeting, so one that is missed once says nothing.
GREET_SECONDS: Final = 4.0
GREETINGS: Final = 2
AGAIN_SECONDS: Final = 0.5
_STILL: Final = "it stands still: it takes no new sessions and answers nothing on those that it has"

T = TypeVar("T")


class Attendant:
    """What is known of a server by those who have sessions of it. `stop` it in the end."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._stands_still = False
        self._overdue: set[_Asked] = set()
        self._looking: asyncio.Task[None] | None = None

    async def connect(self, *args: Any, **kwargs: Any) -> asyncpg.Connection[asyncpg.Record]:
        """A session that is attended to, as the pool asks for it."""
        if self._stands_still:
            raise unavailable()
        try:
            session = await asyncpg.connect(*args, **kwargs)
        except TimeoutError as error:
            raise Unavailable("Postgres", "no new session was to be had in time") from error
        assert isinstance(session, AttendedSession)
        session.attendant = self
        return session

    def begin(self, session: AttendedSession) -> _Asked:
        """A statement begins. Raises `Unavailable` while the server is known to stand still."""
        if self._stands_still:
            # What it has begun is not rolled back: it can't be used again.
            session.terminate()
            raise unavailable()
        return _Asked(session, self._late)

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _late(self, asked: _Asked) -> None:
        self._overdue.add(asked)
        if self._looking is None or self._looking.done():
            # It is not about the request whose statement was late.
            self._looking = asyncio.create_task(self._look(), name="Postgres", context=Context())

    async def _look(self) -> None:
        missed = 0
        while not await self._greets():
            missed += 1
            if missed < GREETINGS:
                continue
            if not self._stands_still:
                log.warning("Postgres does not answer: %s", _STILL)
            self._stands_still = True
            for asked in self._overdue:
                asked.give_up()
            self._overdue.clear()
            await asyncio.sleep(AGAIN_SECONDS)
        if self._stands_still:
            log.info("Postgres answers again")
        self._stands_still = False
        for asked in self._overdue:
            asked.wait_on()
        self._overdue.clear()

    async def _greets(self) -> bool:
        """Whether the server says anything to a new session, be it that it takes none."""
        try:
            session = await asyncpg.connect(
                self._dsn,
                timeout=GREET_SECONDS,
                server_settings={"application_name": "configtrail-look"},
            )
        except TimeoutError:
            return False
        except (
            OSError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ):
            return True
        session.terminate()
        return True


class _Asked:
    """A statement whose answer is awaited."""

    def __init__(self, session: AttendedSession, late: Callable[[_Asked], None]) -> None:
        self.given_up = False
        self._session = session
        self._late = late
        self._is_awaited = True
        self._timer: asyncio.TimerHandle | None = None
        self.wait_on()

    def wait_on(self) -> None:
        """Say that it is late when it still is in some seconds."""
        if self._is_awaited or self._session.is_cancelling:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LONG_SECONDS, self._late, self)

    def give_up(self) -> None:
        """End the session, unless the answer came: whoever waits for it is told."""
        if self._is_awaited or self._session.is_cancelling:
            self.given_up = True
            self._session.terminate()

    def ended(self, *, cancelled: bool = False) -> None:
        """Nobody waits any more. The session does, for the end of a statement that was cancelled:
        it is attended to until then."""
        self._is_awaited = False
        if self._timer is not None and not cancelled:
            self._timer.cancel()


if TYPE_CHECKING:
    _Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
else:
    _Session = asyncpg.Connection


class AttendedSession(_Session):
    """A session whose statements are given up when the server stands still."""

    attendant: Attendant | None = None

    @property
    def is_cancelling(self) -> bool:
        """Whether a statement that was cancelled has not ended yet."""
        return not self.is_closed() and bool(self._protocol._is_cancelling())  # type: ignore[attr-defined]

    async def execute(self, *args: Any, **kwargs: Any) -> str:
        """See `asyncpg.Connection`."""
        return await self._attended(super().execute, *args, **kwargs)

    async def executemany(self, *args: Any, **kwargs: Any) -> None:
        """See `asyncpg.Connection`."""
        await self._attended(super().executemany, *args, **kwargs)

    async def fetch(self, *args: Any, **kwargs: Any) -> Any:
        """See `asyncpg.Connection`."""
        return await self._attended(super().fetch, *args, **kwargs)

    async def fetchrow(self, *args: Any, **kwargs: Any) -> Any:
        """See `asyncpg.Connection`."""
        return await self._attended(super().fetchrow, *args, **kwargs)

    async def fetchval(self, *args: Any, **kwargs: Any) -> Any:
        """See `asyncpg.Connection`."""
        return await self._attended(super().fetchval, *args, **kwargs)

    async def copy_records_to_table(self, *args: Any, **kwargs: Any) -> str:
        """See `asyncpg.Connection`."""
        return await self._attended(super().copy_records_to_table, *args, **kwargs)

    async def copy_from_query(self, *args: Any, **kwargs: Any) -> str:
        """See `asyncpg.Connection`."""
        return await self._attended(super().copy_from_query, *args, **kwargs)

    async def _attended(
        self, ask: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any
    ) -> T:
        if self.attendant is None:  # while it is being made, which is bounded
            return await ask(*args, **kwargs)
        asked = self.attendant.begin(self)
        try:
            answer = await ask(*args, **kwargs)
        except asyncio.CancelledError:
            asked.ended(cancelled=True)
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            asked.ended()
            if asked.given_up:
                raise unavailable() from error
            raise
        except BaseException:
            asked.ended()
            raise
        asked.ended()
        return answer


def unavailable() -> Unavailable:
    """What whoever asks is told."""
    return Unavailable("Postgres", _STILL)
