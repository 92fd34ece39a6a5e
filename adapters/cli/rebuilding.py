"""`projections rebuild`: building a read model anew, and what it waits for meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from adapters.cli.console import err, harmless
from adapters.cli.projections import Name
from adapters.cli.session import Need, session
from adapters.composition import System
from adapters.roles.shielding import surely
from adapters.settings import Settings
from domain.errors import ConfigtrailError, NotFound, RowsHeld
from projections import ALL, rebuilds
from projections.builder import ProjectionBuilder
from projections.checkpoints import checkpoints
from projections.holding import named
from projections.lease import held
from projections.outages import is_outage, reason_of
from projections.projection import Projection
from projections.rebuilds import Rebuild, TakenUp
from projections.schema import BUILD
from projections.waiting import hindrance
from projections.writer import LOCK_SECONDS, lease_name

T = TypeVar("T")

LOOK_SECONDS = 0.2
# One that gets no further for so long waits for something.
STILL_SECONDS = 2.0


async def rebuild(
    settings: Settings,
    *,
    name: Name,
    cancel: Annotated[bool, typer.Option("--cancel", help="End a rebuild instead.")] = False,
) -> int:
    """Build a read model anew beside the live one, which goes on, and put it in its place.

    What it waits for is told. Ctrl-C cancels what this command began, and the live one stays; it
    leaves alone a rebuild that was under way before. Cut off in any other way, it goes on where it
    was: whoever serves, or this command, takes it up.
    """
    projection: Projection[Any] = name
    async with session(settings, Need.NOTHING) as opened:
        system = opened.system
        if cancel:
            ended = await _unhindered(system, projection, rebuilds.cancel(system.pool, projection))
            err.print(f"{projection.name}: " + ("cancelled" if ended else "nothing to cancel"))
            return 0 if ended else 1
        identity = await system.source.identity()
        taken = await _unhindered(
            system, projection, rebuilds.take_up(system.pool, projection, identity)
        )
        begun = taken.rebuild
        if taken.under_way:
            err.print(f"{projection.name}: goes on with the rebuild that is under way")
        try:
            await _Watched(system, projection, begun).until_its_end()
        except asyncio.CancelledError:
            await surely(_left(system, projection, taken))
            raise
        live = (await checkpoints(system.pool)).get(projection.name)
        if live is None or live.build != begun.build:
            err.print(f"{projection.name}: somebody cancelled the rebuild")
            return 1
        err.print(f"{projection.name}: rebuilt up to position {live.position}, and serving")
        if not opened.hosts and not await held(system.pool, (lease_name(projection),)):
            err.print(f"{projection.name}: nobody brings later events in; start configtrail up")
    return 0


async def _unhindered(
    system: System, projection: Projection[Any], work: Coroutine[Any, Any, T]
) -> T:
    """What the work gives. Raises `RowsHeld` when somebody locks what it needs."""
    try:
        return await work
    except Exception as error:
        met = await named(system.pool, projection, BUILD, LOCK_SECONDS, error)
        if met is error:
            raise
        raise met from error


async def _left(system: System, projection: Projection[Any], taken: TakenUp) -> None:
    """What Ctrl-C does, and says."""
    name = projection.name
    later = f"configtrail projections rebuild {name} --cancel ends it"
    if taken.under_way:
        err.print(f"{name}: left as it is, since it was under way before: {later}", soft_wrap=True)
        return
    try:
        await _unhindered(
            system, projection, rebuilds.cancel(system.pool, projection, taken.rebuild.build)
        )
    except Exception as error:
        if not is_outage(error):
            raise
        told = f"{name}: could not be cancelled, and stays: {_words(error)}; then {later}"
        err.print(harmless(told), markup=False, soft_wrap=True)
    else:
        err.print(f"{name}: cancelled; the live rows are as they were")


class _Watched:
    """A rebuild under way, as it is shown to who looks on."""

    def __init__(self, system: System, projection: Projection[Any], begun: Rebuild) -> None:
        self._system = system
        self._projection = projection
        self._begun = begun
        self._builder = ProjectionBuilder(system.pool, system.source, projection)
        self._position = begun.position
        self._answered = self._moved = asyncio.get_running_loop().time()
        self._told: str | None = None

    async def until_its_end(self) -> None:
        """Work on the rebuild, or watch whoever does, until it has ended; outages are waited out
        for as long as commands wait for servers. Raises `PoisonEvent`, and `NotFound` for one that
        stopped."""
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=True),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        ) as progress:
            bar = progress.add_task(
                f"rebuilding {self._projection.name}",
                total=None,
                completed=self._begun.position,
                rate="",
            )
            building = asyncio.create_task(self._builder.build())
            try:
                while True:
                    await asyncio.wait([building], timeout=LOOK_SECONDS)
                    ended = building.done()
                    try:
                        if ended:
                            building.result()
                        found = await self._found(ended=ended)
                        head = await self._system.source.head()
                        own = not ended
                        self._tell(await self._hindrance(found, head, own=own))
                    except Exception as error:
                        if not is_outage(error):
                            raise
                        self._tell(_words(error))
                        self._bear(error)
                        await asyncio.sleep(LOOK_SECONDS)
                    else:
                        if found is None:
                            return
                        self._answered = asyncio.get_running_loop().time()
                        progress.update(
                            bar,
                            total=max(found.position, head),
                            completed=found.position,
                            rate=f"{progress.tasks[0].speed or 0:,.0f} events/s",
                        )
                    if ended:  # another one works on it, or did
                        building = asyncio.create_task(self._builder.build())
            finally:
                building.cancel()
                await asyncio.wait([building])

    def _bear(self, error: Exception) -> None:
        """Raises the error when servers are away for long: they may have moved, and the rebuild
        goes on without this command."""
        silent = asyncio.get_running_loop().time() - self._answered
        if silent > self._system.settings.connect_seconds and not isinstance(error, RowsHeld):
            err.print(
                f"{self._projection.name}: the rebuild stays as it is: whoever serves goes on with "
                "it, and so does this command when it is run again",
                soft_wrap=True,
            )
            raise error

    async def _found(self, *, ended: bool) -> Rebuild | None:
        found = await rebuilds.find(self._system.pool, self._projection)
        if found is None or found.build != self._begun.build:
            return None
        if found.error is not None and ended:
            raise NotFound("way on for the rebuild", found.error)
        return found

    async def _hindrance(self, found: Rebuild | None, head: int, *, own: bool) -> str | None:
        now = asyncio.get_running_loop().time()
        if found is None or found.position != self._position:
            self._position, self._moved = found.position if found else 0, now
            return None
        if now - self._moved < STILL_SECONDS:
            return self._told
        return await hindrance(self._system.pool, self._projection, ALL, head=head, own=own)

    def _tell(self, why: str | None) -> None:
        """Once, and again when it is something else."""
        if why is not None and why != self._told:
            told = f"{self._projection.name}: waits: {why}"
            err.print(harmless(told), markup=False, soft_wrap=True)
        self._told = why


def _words(error: Exception) -> str:
    if isinstance(error, ConfigtrailError):
        return str(error)
    return f"Postgres does not answer: {reason_of(error)}"
