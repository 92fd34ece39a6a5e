"""Headers that mean one thing, and are there more than once.

Of several, whoever else reads the request, a proxy or a cache, may take another one than we do.
Lists are another matter: their parts are put together where they are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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


def joined(parts: Iterable[str]) -> str:
    """A list that may have come in several headers of its name (RFC 9110, 5.3)."""
    return ", ".join(parts)
