"""Is it alive, is it ready, and what does it count."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Response
from pydantic import BaseModel

from adapters.http.access import public
from adapters.http.described import plain
from adapters.http.lag import Lag, judge, read_lags
from adapters.observability.metrics import CONTENT_TYPE
from domain.errors import ConfigtrailError
from projections.outages import is_outage, reason_of

if TYPE_CHECKING:
    from adapters.composition import System

PROBE_SECONDS = 3.0

Answer = TypeVar("Answer")

# The loop keeps no hold of what runs in it.
_asked: set[asyncio.Future[Any]] = set()


class ProjectionOut(BaseModel):
    """How far a read model is. `lag_seconds`: the age of the oldest event that it lacks; `parked`:
    events that it can't take in, `held`: those of the same devices that wait for them."""

    position: int
    lag_events: int
    lag_seconds: float
    version: int | None
    parked: int
    held: int
    rebuild_position: int | None


class ReadyOut(BaseModel):
    """`reasons` is empty when it is ready."""

    ready: bool
    reasons: list[str]
    stream_head: int | None
    projections: dict[str, ProjectionOut]


def router(system: System) -> APIRouter:
    """The routes of this module. They answer without a tenant, and name none."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/healthz", dependencies=[public()])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz", dependencies=[public()], responses={503: {"model": ReadyOut}})
    async def readyz(response: Response) -> ReadyOut:
        reasons: list[str] = []
        lags: list[Lag] = []
        if not system.nc.is_connected:
            reasons.append("NATS: not connected")
        else:
            try:
                lags = await _in_time(read_lags(system))
            except TimeoutError:
                reasons.append("NATS or Postgres: no answer in time")
            except Exception as error:
                if not is_outage(error) and not isinstance(error, ConfigtrailError):
                    raise
                reasons.append(_told(error))
        try:
            await _in_time(system.pool.fetchval("SELECT 1"))
        except Exception as error:
            if not is_outage(error):
                raise
            reasons.append(_told(error))
        reasons += [reason for lag in lags if (reason := judge(lag))]
        if reasons:
            response.status_code = 503
        return ReadyOut(
            ready=not reasons,
            reasons=list(dict.fromkeys(reasons)),
            stream_head=lags[0].head if lags else None,
            projections={
                lag.name: ProjectionOut(
                    position=lag.position,
                    lag_events=lag.events,
                    lag_seconds=lag.seconds,
                    version=lag.live_version,
                    parked=lag.parked,
                    held=lag.held,
                    rebuild_position=lag.rebuild.position if lag.rebuild else None,
                )
                for lag in lags
            },
        )

    @routes.get(
        "/metrics",
        response_class=Response,
        responses=plain("for Prometheus", "config_snapshot_ingested_total 4711.0\n"),
        dependencies=[public()],
    )
    async def metrics() -> Response:
        await refresh_gauges(system)
        return Response(system.metrics.exposition(), media_type=CONTENT_TYPE)

    return routes


async def refresh_gauges(system: System) -> None:
    """Set what is asked for rather than counted. What can't be learnt now becomes NaN: a stale
    value would look healthy."""
    metrics = system.metrics
    try:
        for lag in await _in_time(read_lags(system)):
            metrics.stream_head.set(lag.head)
            metrics.observe_projection(
                lag.name,
                position=lag.position,
                head=lag.head,
                behind_since=lag.oldest_missing,
                now=datetime.now(UTC),
            )
            metrics.projection_parked.labels(lag.name).set(lag.parked)
            metrics.projection_held.labels(lag.name).set(lag.held)
    except Exception as error:
        if not is_outage(error) and not isinstance(error, ConfigtrailError):
            raise
        metrics.unknown_lag([one.name for one in system.projections])
    try:
        metrics.dead_letters.set(await _in_time(system.dead_letters.count()))
    except Exception as error:
        if not is_outage(error):
            raise
        metrics.dead_letters.set(math.nan)


async def _in_time(asked: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer. Raises `TimeoutError` without waiting for what is given up: a server that stands
    still ends no statement, so that ends when the server goes on, or the connection is lost."""
    asking = asyncio.ensure_future(asked)
    _asked.add(asking)
    asking.add_done_callback(_ended)
    try:
        done, _ = await asyncio.wait([asking], timeout=PROBE_SECONDS)
    finally:
        asking.cancel()
    if not done:
        raise TimeoutError
    return asking.result()


def _ended(asking: asyncio.Future[Any]) -> None:
    _asked.discard(asking)
    if not asking.cancelled():
        asking.exception()  # of what was given up nobody else asks


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigtrailError) else f"Postgres: {reason_of(error)}"
