"""Uploading a configuration: for pollers that have no NATS."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel
from starlette.routing import compile_path
from starlette.types import Scope

from adapters.http.access import Permission, requires
from adapters.http.bodies import read_text
from adapters.http.described import UPLOADING, Responses
from adapters.http.freshness import POSITION
from adapters.http.params import DeviceId, TenantId, optional_moment
from adapters.turns import Turns
from adapters.uploading import Upload, Uploaded
from domain.errors import InvalidInput

if TYPE_CHECKING:
    from adapters.composition import System

# Each may hold two copies of a text of 64 MiB, for as long as whoever sends it takes: one tenant's
# slow ones must not keep out another's.
AT_ONCE: Final = 4
OF_ONE: Final = 3
_STATUS: Final = {"created": 201, "partial": 201, "duplicate": 200, "pending": 202}
_KEY = re.compile(r"[\x21-\x7e]{1,128}\Z")
_DEVICE: Final = "/api/tenants/{tenant}/devices/{device:path}"
_CONFIG: Final = "/config"
# As the route itself is found, so that no address is an upload's to the guard alone.
_PATH: Final = compile_path(_DEVICE + _CONFIG)[0]


class UploadOut(BaseModel):
    """What became of it: a new snapshot (`created`, or `partial` when the export is incomplete),
    the known one confirmed (`duplicate`), or durable and on its way (`pending`). `position` is that
    of the event which says so."""

    outcome: Literal["created", "partial", "duplicate", "pending"]
    device_id: str
    collected_at: datetime
    snapshot_id: str | None
    position: int | None


_DESCRIBED: Responses = {
    **UPLOADING,
    201: {**UPLOADING[201], "model": UploadOut},
    202: {**UPLOADING[202], "model": UploadOut},
}
_DESCRIBED_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {
                "schema": {"type": "string", "minLength": 1},
                "example": "/system identity\nset name=edge-berlin\n",
            }
        },
    }
}


def upload_out(device_id: str, done: Uploaded) -> UploadOut:
    """What became of an upload as it is answered."""
    return UploadOut(
        outcome=done.outcome,
        device_id=device_id,
        collected_at=done.collected_at,
        snapshot_id=done.snapshot_id,
        position=done.position,
    )


def is_upload(scope: Scope) -> bool:
    """Whether the request may have a body of a configuration's size, which its route bounds. The
    encoded slashes of its address are marked (`Slashes`)."""
    return scope["method"] == "PUT" and _PATH.match(scope["path"]) is not None


def router(system: System) -> APIRouter:
    """The routes of this module."""
    routes = APIRouter(
        prefix=_DEVICE,
        tags=["config"],
        dependencies=[requires(Permission.UPLOAD)],
    )
    room = Turns("the intake of uploads", AT_ONCE, of_one=OF_ONE)

    @routes.put(
        _CONFIG,
        response_model=UploadOut,
        responses=_DESCRIBED,
        openapi_extra=_DESCRIBED_BODY,
    )
    async def upload(
        request: Request,
        tenant: TenantId,
        device: DeviceId,
        collected_at: Annotated[
            str | None, Query(description="when it was read, with its zone; default: now")
        ] = None,
        platform: Annotated[str | None, Query(description="default: by the text")] = None,
        os_version: Annotated[str | None, Query(description="default: by the text")] = None,
        idempotency_key: Annotated[
            str | None, Header(description="the same upload again is the same observation")
        ] = None,
    ) -> Response:
        """Record a configuration, sent as the body: text in UTF-8, packed by zstd or gzip or not
        at all. It goes through the intake, and is answered when it is a fact."""
        if idempotency_key is not None and not _KEY.match(idempotency_key):
            raise InvalidInput("Idempotency-Key", "must be 1 to 128 visible ASCII characters")
        moment = optional_moment(collected_at, "collected_at")
        async with room.turn(tenant):
            done = await system.uploads.take(
                Upload(
                    tenant_id=tenant,
                    device_id=device,
                    text=await read_text(request),
                    collected_at=moment,
                    platform=platform,
                    os_version=os_version,
                    idempotency_key=idempotency_key,
                )
            )
        headers = {} if done.position is None else {POSITION: str(done.position)}
        return Response(
            upload_out(device, done).model_dump_json(),
            _STATUS[done.outcome],
            headers,
            "application/json",
        )

    return routes
