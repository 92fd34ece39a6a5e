"""Asking other servers over HTTP, where whoever named their addresses meant these and no others."""

from __future__ import annotations

import urllib.request
from typing import Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token must not follow to wherever a server points, nor is what is said there its word."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def straight(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """What opens a URL and follows no redirect: such an answer is an `HTTPError`."""
    return urllib.request.build_opener(_NoRedirect, *handlers)
