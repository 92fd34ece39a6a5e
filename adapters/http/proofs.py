"""A tenant's signed log: its checkpoint, its tiles, and proofs, as texts of the C2SP standards.

Nothing of it says what other tenants did. The proof that an event is in the stream's log as well
holds hashes only, besides the event's own leaf: that is of the audit trail, and so are proofs of
events. All else is hashes, for whoever reads.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from adapters.http.access import Permission, requires
from adapters.http.described import HASHES, plain
from adapters.http.params import TenantId
from adapters.postgres.witness_book import Outcome, answers
from adapters.tlog.proofs import Prover
from adapters.tlog.proving import names_of, prove_event, prover_of
from adapters.witness.client import parse_witnesses
from domain.errors import NotFound
from domain.tlog.checkpoint import checkpoint_in
from domain.tlog.merkle import HASH_BYTES, MAX_SIZE
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.proof import CONSISTENCY, INCLUSION
from domain.tlog.tiles import WIDTH

if TYPE_CHECKING:
    from adapters.composition import System

_TEXT = "text/plain; charset=utf-8"
_TILE = re.compile(r"((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z", re.ASCII)
_HASH = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
_ORIGIN = "configtrail.example/main/tenant/acme"
_SIGNATURE = base64.b64encode(bytes(68)).decode()
_SIGNED = f"{_ORIGIN}\n4711\n{_HASH}\n\n\u2014 {_ORIGIN} {_SIGNATURE}\n"
_SEALED = plain("the newest checkpoint, signed", _SIGNED)
_INCLUDED = plain(
    "a proof that the event is in the log",
    f"{INCLUSION}\nindex 4709\n{_HASH}\n\n{_SIGNED}",
)
_CONSISTENT = plain(
    "a proof that nothing was changed between the two",
    f"{CONSISTENCY}\nold 4710\n{_HASH}\n{_HASH}\n\n{_SIGNED}",
)


class WitnessOut(BaseModel):
    """What a witness answered last about this log, and since when it answers so; `outcome` is null
    before it was asked."""

    name: str
    outcome: Outcome | None
    since: datetime | None
    told: str


class LogStateOut(BaseModel):
    """How many events are under the newest checkpoint, and who cosigns it."""

    log: str
    size: int
    witnesses: list[WitnessOut]


Size = Annotated[int, Query(ge=1, le=MAX_SIZE)]


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(prefix="/api/tenants/{tenant}/log", tags=["log"])

    @routes.get(
        "/checkpoint",
        response_class=Response,
        responses=_SEALED,
        dependencies=[requires(Permission.READ)],
    )
    async def checkpoint(tenant: TenantId) -> Response:
        prover = await prover_of(system)
        return _text(str((await prover.sealed(tenant_log(tenant))).note))

    @routes.get("/state", dependencies=[requires(Permission.READ)])
    async def state(tenant: TenantId) -> LogStateOut:
        names = await names_of(system)
        origin = names.origin(tenant_log(tenant))
        last = await system.log.checkpoints.last(origin)
        told = {one.asked.witness: one for one in await answers(system.pool, names.base, origin)}
        witnesses = []
        for one in parse_witnesses(system.settings.witnesses):
            answer = told.get(one.key.name)
            witnesses.append(
                WitnessOut(
                    name=one.key.name,
                    outcome=answer.asked.outcome if answer else None,
                    since=answer.since if answer else None,
                    told=answer.asked.told if answer else "",
                )
            )
        size = checkpoint_in(last.raw).size if last is not None else 0
        return LogStateOut(log=origin, size=size, witnesses=witnesses)

    @routes.get(
        "/proofs/{position}",
        response_class=Response,
        responses=_INCLUDED,
        dependencies=[requires(Permission.AUDIT)],
    )
    async def inclusion(
        tenant: TenantId,
        position: Annotated[int, Path(ge=1, le=MAX_SIZE)],
        log: Literal["tenant", "stream"] = "tenant",
    ) -> Response:
        """That an event is in the log, with its leaf: what kind of event, of what, when it was
        stored and how large it is. So it is for those who may read the audit trail."""
        proof = await prove_event(system, tenant, position, in_stream=log == STREAM_LOG)
        return _text(str(proof))

    @routes.get(
        "/consistency",
        response_class=Response,
        responses=_CONSISTENT,
        dependencies=[requires(Permission.READ)],
    )
    async def consistency(tenant: TenantId, old: Size, new: Size | None = None) -> Response:
        prover: Prover = await prover_of(system)
        name = tenant_log(tenant)
        return _text(str(await prover.consistency(name, old, await prover.sealed(name, new))))

    @routes.get(
        "/tile/{level}/{path:path}",
        response_class=Response,
        responses=HASHES,
        dependencies=[requires(Permission.READ)],
    )
    async def tile(
        tenant: TenantId, level: Annotated[int, Path(ge=0, le=7)], path: str
    ) -> Response:
        found = _TILE.match(path)
        if found is None:
            raise NotFound("tile", path[:40])
        number = int(found[1].replace("x", "").replace("/", ""))
        width = int(found[2] or WIDTH)
        kept = await system.log.tiles.tiles(tenant_log(tenant), [(level, number)])
        hashes = kept.get((level, number), b"")[: width * HASH_BYTES]
        if len(hashes) != width * HASH_BYTES or not 0 < width <= WIDTH:
            raise NotFound("tile", path[:40])
        return Response(hashes, media_type="application/octet-stream")

    return routes


def _text(text: str) -> Response:
    return Response(text, media_type=_TEXT)
