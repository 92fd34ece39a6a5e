"""Pages of other sites that may use the API (CORS): none, unless the settings name them."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response

# All that an answer says in headers of its own: pages of a bare list go on by `Link` alone.
_SHOWN = (
    "X-Request-ID, Configtrail-Position, Configtrail-Parked, Link, Content-Disposition,"
    " Retry-After, ETag, WWW-Authenticate, Configtrail-Searched, Configtrail-Unreadable"
)
_MAX_AGE = "600"


class Origins:
    """The origins that are let in. Without cookies: pages send a key or a token of their own."""

    def __init__(self, text: str) -> None:
        self._allowed = {one.strip().rstrip("/") for one in text.split(",")} - {""}

    @property
    def any(self) -> bool:
        """Whether answers differ by who asks from where."""
        return bool(self._allowed)

    def allows(self, origin: str | None) -> bool:
        """Whether pages of this origin may use the API."""
        return origin is not None and origin in self._allowed

    def headers(self, origin: str | None) -> dict[str, str]:
        """What an answer says to browsers."""
        if origin is None or origin not in self._allowed:
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _SHOWN,
        }

    def preflight(self, method: str, headers: Headers) -> Response | None:
        """The answer to a browser that asks what it may do; None when that is not the question."""
        if method != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        if not self.allows(headers.get("origin")):
            return None
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
                "Access-Control-Allow-Headers": headers.get(
                    "access-control-request-headers", "Authorization"
                ),
                "Access-Control-Max-Age": _MAX_AGE,
            },
        )
