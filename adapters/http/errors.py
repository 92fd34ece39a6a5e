"""Errors as HTTP answers: one body form, one table from the hierarchy of errors to statuses.

The body is always `{"error": {"code", "message", "field"?}}`. No message quotes what was sent, and
an unexpected error says nothing but the request's id.
"""

from __future__ import annotations

import logging

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from domain.errors import (
    BackupFailed,
    BackupTimedOut,
    BackupUnderWay,
    ConfigtrailError,
    ContentCorrupt,
    ContentGone,
    ContentMissing,
    EventsParked,
    InvalidInput,
    KeyUnavailable,
    NotFound,
    NotRedactable,
    NotVerified,
    Unavailable,
    UnderLegalHold,
)

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5

_STATUS: tuple[tuple[type[ConfigtrailError], int, str], ...] = (
    (InvalidInput, 422, "invalid_input"),
    (NotFound, 404, "not_found"),
    (NotRedactable, 422, "not_redactable"),
    (BackupUnderWay, 409, "backup_under_way"),
    (BackupFailed, 502, "backup_failed"),
    (BackupTimedOut, 504, "backup_timed_out"),
    (Unavailable, 503, "unavailable"),
    (EventsParked, 503, "events_parked"),
    (KeyUnavailable, 503, "key_unavailable"),
    (NotVerified, 503, "not_verified"),
    (ContentGone, 410, "content_gone"),
    (UnderLegalHold, 409, "under_legal_hold"),
    (ContentMissing, 500, "content_missing"),
    (ContentCorrupt, 500, "content_corrupt"),
)
_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class Problem(BaseModel):
    """What is wrong. `field` names the parameter when there is one to blame."""

    code: str
    message: str
    field: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: Problem


def error_response(status: int, code: str, message: str, field: str | None = None) -> JSONResponse:
    """An answer in the one form."""
    problem = {"code": code, "message": message}
    if field is not None:
        problem["field"] = field
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return JSONResponse({"error": problem}, status_code=status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Answer all errors in the one form."""
    app.exception_handler(ConfigtrailError)(_known)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    for outage in (
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncpg.CannotConnectNowError,
        asyncpg.QueryCanceledError,
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,  # the rows are of another version, for a while
        ConnectionError,
        TimeoutError,
    ):
        app.exception_handler(outage)(_outage)


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ConfigtrailError)
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            if status >= 500:
                log.warning("%s: %s", code, error)
            field = error.field if isinstance(error, InvalidInput) else None
            return error_response(status, code, str(error), field)
    raise error


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    # Of JSON that can't be read it names the place in it, which is no field.
    field = "body" if first["type"] == "json_invalid" else ".".join(place[1:]) or place[0]
    return error_response(422, "invalid_input", f"{field}: {first['msg']}", field)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(error.status_code, "refused")
    message = f"no such address: {request.method} {request.url.path[:200]}"
    if error.status_code != 404:
        message = str(error.detail)
    answer = error_response(error.status_code, code, message)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _outage(request: Request, error: Exception) -> JSONResponse:
    log.warning("Postgres does not answer: %s", type(error).__name__)
    return error_response(
        503, "unavailable", f"Postgres does not answer: {type(error).__name__}; try again soon"
    )
