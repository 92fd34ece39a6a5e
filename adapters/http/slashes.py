"""Slashes within an id, told apart from those between the parts of an address.

Routes are looked for by the decoded address, in which `edge%2Fsnapshots`, a device, would be the
snapshots of `edge`. So an encoded slash stays a mark of its own until a route was found.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

# Code points that stand for no characters, in no text: no id may have one. An address that has the
# first gets the other, so that it is no way to write a slash.
_MARK: Final = "\ufdd0"
_NO_MARK: Final = "\ufdd1"
_ENCODED: Final = re.compile(r"%2f", re.IGNORECASE)


class Slashes:
    """ASGI middleware: marks the encoded slashes of the address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and (b"%2" in scope["raw_path"] or _MARK in scope["path"]):
            # In place: what is found out of a request is put into its scope, for those outside.
            parts = _ENCODED.split(scope["raw_path"].decode("ascii"))
            scope["path"] = _MARK.join(unquote(one).replace(_MARK, _NO_MARK) for one in parts)
        await self._app(scope, receive, send)


def is_marked(scope: Scope) -> bool:
    """Whether the address has slashes within an id."""
    return _MARK in scope["path"]


def resolve(scope: Scope) -> None:
    """Once the route is found: slashes in place of their marks."""
    if is_marked(scope):
        scope["path"] = scope["path"].replace(_MARK, "/")
        found = scope["path_params"]
        scope["path_params"] = {name: found[name].replace(_MARK, "/") for name in found}
