"""Which methods an address takes, over all routes that it matches (`Allow`, RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import compile_path

from adapters.http.access import Route


class Allowed:
    """Looks an address up in the table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(compile_path(one.path)[0], one.methods) for one in routes]

    def methods(self, path: str) -> str:
        """The methods, for the header."""
        found = {name for pattern, names in self._routes if pattern.match(path) for name in names}
        return ", ".join(sorted(found))
