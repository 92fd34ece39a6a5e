"""Answers to reads: their form, their mark (ETag), and up to where in the stream they hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute

from adapters.http.freshness import position_headers
from adapters.http.repeated import joined
from adapters.http.representations import CSV, JSON, LISTING, NDJSON, accepted, csv_header, csv_rows
from adapters.shapes.out import Out, json_of, lines_of, taken_apart

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_MAX = 100
_STEPS = (".", "..")


def answered(
    request: Request, body: str | bytes, form: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer, or 304 when the caller has it already (`If-None-Match`).

    The mark is of the bytes that are shown: it tells no more than they do.
    """
    raw = body.encode() if isinstance(body, str) else body
    mark = f'"{hashlib.sha256(form.encode() + raw).hexdigest()[:32]}"'
    told = {"ETag": mark, "Vary": "Accept", **position_headers(request), **(headers or {})}
    if _has(joined(request.headers.getlist("if-none-match")), mark):
        return Response(status_code=304, headers=told)
    charset = "" if form == JSON else "; charset=utf-8"
    return Response(raw, media_type=form + charset, headers=told)


def answered_model(
    request: Request, model: Out, headers: Mapping[str, str] | None = None
) -> Response:
    """One thing, as JSON."""
    accepted(request, (JSON,))
    return answered(request, json_of(model), JSON, headers)


def answered_listing(
    request: Request,
    items: Sequence[Out],
    page: Out | None,
    kind: type[Out],
    *,
    name: str,
    next_cursor: str | None,
    told: Mapping[str, str] | None = None,
) -> Response:
    """A page of a listing as JSON, as lines of JSON, or as CSV (a file called `name`).

    `page` is the body as JSON, None: the bare list. Where the next page is says `Link` in each
    form, and so do the headers `told` what only JSON has a place for.
    """
    form = accepted(request, LISTING)
    headers = {**_following(request, next_cursor), **(told or {})}
    if form == CSV:
        headers |= attachment(name, "csv")
        columns = kind.__struct_fields__
        rows = taken_apart(items, kind)
        return answered(request, csv_header(columns) + csv_rows(rows, columns), CSV, headers)
    if form == NDJSON:
        return answered(request, lines_of(items), NDJSON, headers)
    return answered(request, json_of(items if page is None else page), JSON, headers)


def answered_page(request: Request, page: Out, next_cursor: str | None) -> Response:
    """A page of a listing, as JSON; `Link` says where the next one is."""
    return answered(request, json_of(page), JSON, _following(request, next_cursor))


def attachment(name: str, suffix: str, moment: datetime | None = None) -> dict[str, str]:
    """The header of a download. The name keeps letters, digits, '.', '_' and '-' only."""
    stem = _UNSAFE.sub("_", name).strip("._-")[:_NAME_MAX] or "file"
    when = f"-{moment.astimezone(UTC):%Y-%m-%dT%H%M%SZ}" if moment else ""
    return {"Content-Disposition": f'attachment; filename="{stem}{when}.{suffix}"'}


def _following(request: Request, next_cursor: str | None) -> dict[str, str]:
    if next_cursor is None:
        return {}
    kept = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name not in ("cursor", "offset", "page", "before", "min_position")
    ]
    query = urlencode([*kept, ("cursor", next_cursor)])
    route: APIRoute = request.scope["route"]
    ids = {name: _part(value) for name, value in request.path_params.items()}
    return {"Link": f'<{route.path_format.format(**ids)}?{query}>; rel="next"'}


def _part(identifier: str) -> str:
    """An id as one part of an address. Clients take a part that is `..` for a step up, and leave
    it out with the one before: so slashes are encoded, and the dots of an id that is such a step.
    """
    return identifier.replace(".", "%2E") if identifier in _STEPS else quote(identifier, safe="")


def _has(given: str, mark: str) -> bool:
    marks = {one.strip().removeprefix("W/") for one in given.split(",")}
    return mark in marks or "*" in marks
