"""Which methods an address takes, over all routes that are for it (`Allow`, RFC 9110).

An id of a device may hold anything, `/` included, so that an address can match several routes: the
one with the longest form is meant.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import compile_path

from adapters.http.access import Route


class Allowed:
    """Looks an address up in the table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(one.path, compile_path(one.path)[0], one.methods) for one in routes]

    def methods(self, address: str) -> str:
        """The methods, for the header."""
        matching = [
            (path, names) for path, pattern, names in self._routes if pattern.match(address)
        ]
        longest = max((path for path, _ in matching), key=len, default="")
        found = {name for path, names in matching if path == longest for name in names}
        return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))
