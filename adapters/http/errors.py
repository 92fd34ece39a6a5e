"""Errors as HTTP answers: one body form, one table from the hierarchy of errors to statuses.

The body is problem+json (RFC 9457) with `code`, `field` and `request_id` beside its own members.
Codes are published names. No message quotes what was sent, and an unexpected error says nothing but
the request's id.
"""

from __future__ import annotations

import logging
import math

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from adapters.http.allowed import Allowed
from adapters.http.bodies import NotAText, TooLarge, TooSlow, UnknownCoding
from adapters.http.cursors import InvalidCursor
from adapters.http.representations import NotAcceptable
from adapters.jetstream.intake import IntakeFull
from adapters.uploading import KeyReused
from domain.errors import (
    BackupFailed,
    BackupTimedOut,
    BackupUnderWay,
    ConfigtrailError,
    ContentCorrupt,
    ContentGone,
    ContentMissing,
    EventsParked,
    EventsUnread,
    Forbidden,
    InvalidInput,
    KeyUnavailable,
    MalformedEvent,
    MasterKeyUnknown,
    NotFound,
    NotRedactable,
    NotVerified,
    RowUnreadable,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnderLegalHold,
    UnknownEventType,
)
from projections.outages import is_outage

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
RETRY_AFTER_SECONDS = 5

_STATUS: tuple[tuple[type[ConfigtrailError], int, str], ...] = (
    (InvalidCursor, 400, "invalid_cursor"),
    (InvalidInput, 422, "invalid_input"),
    (Unauthenticated, 401, "unauthenticated"),
    (Forbidden, 403, "forbidden"),
    (TooManyRequests, 429, "too_many_requests"),
    (NotFound, 404, "not_found"),
    (NotAcceptable, 406, "not_acceptable"),
    (NotRedactable, 422, "not_redactable"),
    (TooSlow, 408, "too_slow"),
    (TooLarge, 413, "too_large"),
    (UnknownCoding, 415, "unknown_coding"),
    (NotAText, 415, "not_a_text"),
    (KeyReused, 409, "key_reused"),
    (IntakeFull, 503, "intake_full"),
    (BackupUnderWay, 409, "backup_under_way"),
    (BackupFailed, 502, "backup_failed"),
    (BackupTimedOut, 504, "backup_timed_out"),
    (Unavailable, 503, "unavailable"),
    (EventsParked, 503, "events_parked"),
    (EventsUnread, 503, "events_unread"),
    (UnknownEventType, 503, "events_unread"),
    (MalformedEvent, 503, "events_unread"),
    (KeyUnavailable, 503, "key_unavailable"),
    (NotVerified, 503, "not_verified"),
    (ContentGone, 410, "content_gone"),
    (UnderLegalHold, 409, "under_legal_hold"),
    (ContentMissing, 500, "content_missing"),
    (ContentCorrupt, 500, "content_corrupt"),
    (RowUnreadable, 500, "row_unreadable"),
)
_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
# Refused before any route is reached.
_GUARDS = {421: "unknown_host"}


class ErrorBody(BaseModel):
    """What is wrong, as problem+json. `code` is stable; `field` names the parameter when there is
    one to blame; `request_id` is what our log has about it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    request_id: str | None = None


def problem(status: int, code: str, message: str) -> dict[str, object]:
    """What is wrong, in the one form."""
    return {
        "type": f"urn:configtrail:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": message,
        "code": code,
    }


def telling(status: int) -> tuple[str, str]:
    """The code that a status mostly comes with, and words for it."""
    known = {each: code for _, each, code in reversed(_STATUS)} | _OF_STATUS | _GUARDS
    code = known[status]
    return code, code.replace("_", " ")


def error_response(
    status: int,
    code: str,
    message: str,
    field: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An answer in the one form."""
    body = problem(status, code, message)
    if field is not None:
        body["field"] = field
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id is not None:
        body["request_id"] = request_id
    said = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
    return JSONResponse(
        body,
        status_code=status,
        headers={**said, **(headers or {})},
        media_type=PROBLEM,
    )


def refusal(error: Exception) -> JSONResponse | None:
    """The answer to what is wrong before any route is reached; None when it is unexpected."""
    return _answer(error) if isinstance(error, ConfigtrailError) else _unavailable(error)


# Those of these that are no outages are unexpected.
_OUTAGES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
)
# At the first start, after they were dropped, and while a program of another version takes over.
_UNBUILT = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
)


def install_error_handlers(app: FastAPI) -> None:
    """Answer all errors in the one form."""
    app.exception_handler(ConfigtrailError)(_known)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    for outage in _OUTAGES:
        app.exception_handler(outage)(_outage)


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ConfigtrailError)
    answer = _answer(error)
    if answer is None:
        raise error
    return answer


def _answer(error: ConfigtrailError) -> JSONResponse | None:
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            if status >= 500:
                log.warning("%s: %s", code, error)
            field = error.field if isinstance(error, InvalidInput) else None
            told = error.told if isinstance(error, MasterKeyUnknown) else str(error)
            answer = error_response(status, code, told, field, _headers(error))
            if isinstance(error, TooLarge | TooSlow):
                # Else the rest of an upload would be read, for ever maybe.
                answer.headers["Connection"] = "close"
            return answer
    return None


def _headers(error: ConfigtrailError) -> dict[str, str]:
    match error:
        case Unauthenticated(reason="no_credentials"):
            return {"WWW-Authenticate": "Bearer"}
        case Unauthenticated():
            return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        case TooManyRequests():
            return {"Retry-After": str(math.ceil(error.retry_after))}
        case _:
            return {}


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
    message = "there is nothing at this address"
    if error.status_code != 404:
        message = str(error.detail)
    answer = error_response(error.status_code, code, message)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    if error.status_code == 405:
        # The framework names those of the first route only.
        allowed: Allowed = request.app.state.allowed
        answer.headers["Allow"] = allowed.methods(request.scope["path"])
    return answer


async def _outage(request: Request, error: Exception) -> JSONResponse:
    answer = _unavailable(error)
    if answer is None:
        raise error
    return answer


def _unavailable(error: Exception) -> JSONResponse | None:
    kind = type(error).__name__
    if isinstance(error, _UNBUILT):
        log.warning("the read models are not there yet: %s", kind)
        told = "the read models are being built; /readyz tells how far they are"
        return error_response(503, "read_models_unbuilt", told)
    if not is_outage(error):
        return None
    whose = "Postgres" if type(error).__module__.startswith("asyncpg") else "a server"
    log.warning("%s does not answer: %s", whose, kind)
    return error_response(503, "unavailable", f"{whose} does not answer: {kind}; try again soon")
