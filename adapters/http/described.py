"""What the API's description says of every route besides its own: forms, and refusals."""

from __future__ import annotations

from typing import Any

from adapters.http.errors import PROBLEM, ErrorBody
from adapters.http.examples import CONFIG_TEXT, IN_WORDS, UNIFIED
from adapters.http.representations import CSV, DIFF, NDJSON, TEXT

Responses = dict[int | str, dict[str, Any]]

_REFUSALS = {
    400: "the cursor is none of this listing, or the request can't be read",
    401: "no valid API key or token",
    403: "whoever asks may not do this",
    404: "there is no such thing (for this tenant)",
    405: "not with this method",
    406: "none of the forms that `Accept` takes",
    410: "the text is not kept any more",
    413: "the body is too large",
    421: "this server does not answer to that name",
    422: "a parameter breaks a rule; `field` names it",
    429: "too many requests; try again after `Retry-After` seconds",
    503: "a server that is needed does not answer; try again after `Retry-After` seconds",
}


def refused(description: str) -> dict[str, Any]:
    """A refusal, for a route's description."""
    # The model makes its schema known; what is answered has the type of RFC 9457.
    shape = {"schema": {"$ref": "#/components/schemas/ErrorBody"}}
    return {
        "model": ErrorBody,
        "description": description,
        "content": {PROBLEM: shape},
    }


REFUSALS: Responses = {status: refused(told) for status, told in _REFUSALS.items()}
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_SAME: Responses = {304: {"description": "the caller has it already (`If-None-Match`)"}}

READING: Responses = {**REFUSALS, **_SAME}
LISTED: Responses = {
    200: {
        "description": "a page; `Link` says where the next one is",
        "content": {NDJSON: _TEXT, CSV: _TEXT},
    },
    **_SAME,
}
AS_TEXT: Responses = {
    200: {
        "description": "as JSON, or the text alone",
        "content": {TEXT: {**_TEXT, "example": CONFIG_TEXT}},
    }
}
AS_DIFF: Responses = {
    200: {
        "description": "as JSON, as a unified diff, or in words",
        "content": {
            DIFF: {**_TEXT, "example": UNIFIED},
            TEXT: {**_TEXT, "example": IN_WORDS},
        },
    }
}
DOWNLOAD: Responses = {
    200: {"description": "the file", "content": {TEXT: {**_TEXT, "example": CONFIG_TEXT}}}
}
_FEED = 'retry: 2000\nid: 4711\ndata: {"position": 4711, "device_id": "edge"}\n\n'
STREAMED: Responses = {
    200: {
        "description": "server-sent events",
        "content": {
            # Of no type: some read a schema here as the whole text's, some as each event's.
            "text/event-stream": {
                "schema": {"description": "`id` is a position in the stream, `data` is JSON"},
                "example": _FEED,
            },
        },
    }
}
HASHES: Responses = {
    200: {
        "description": "hashes of a tile, 32 bytes each",
        "content": {"application/octet-stream": {"schema": {}}},
    }
}


def plain(description: str, example: str) -> Responses:
    """An answer that is a text of a form of its own."""
    content = {TEXT: {**_TEXT, "example": example}}
    return {200: {"description": description, "content": content}}


UPLOADING: Responses = {
    200: {"description": "unchanged: the known configuration is confirmed"},
    201: {"description": "a new configuration"},
    202: {"description": "durable, and not recorded yet"},
    **{
        status: refused(description)
        for status, description in (
            (408, "the body did not come in time"),
            (409, "the idempotency key was used for something else"),
            (415, "packed in a way that is not known here, or a form"),
        )
    },
}
