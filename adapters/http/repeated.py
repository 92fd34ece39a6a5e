"""What means one thing, and is there more than once: headers, and names in a body of JSON.

Of several, whoever else reads the request, a proxy or a cache, may take another one than we do.
Lists are another matter: their parts are put together where they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

_NAME_MAX: Final = 100

_SINGLE: Final = {
    one.lower().encode(): one
    for one in (
        "Authorization",
        "Content-Type",
        "Content-Encoding",
        "Idempotency-Key",
        "Configtrail-Min-Position",
        "Last-Event-ID",
        "Origin",
        "Sec-Fetch-Site",
    )
}


def repeated(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The name of a header that must be there once and is not; None where there is none. Names are
    in small letters, as ASGI has them."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in _SINGLE:
            if name in seen:
                return _SINGLE[name]
            seen.add(name)
    return None


class _Repeated(Exception):
    """An object has this name twice."""


def repeated_name(body: bytes) -> str | None:
    """A name that an object in this JSON has twice (RFC 8259, 4: what is read then differs); None
    where there is none, and for what is no JSON, of which others say what is wrong."""
    try:
        json.loads(body, object_pairs_hook=_named_once)
    except _Repeated as error:
        # Half of a surrogate pair is no text that could be answered.
        return str(error)[:_NAME_MAX].encode(errors="replace").decode()
    except (ValueError, RecursionError):
        return None
    return None


def _named_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise _Repeated(name)
        seen.add(name)


def joined(parts: Iterable[str]) -> str:
    """A list that may have come in several headers of its name (RFC 9110, 5.3)."""
    return ", ".join(parts)
