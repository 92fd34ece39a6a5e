"""Web pages that stand where a configuration should: what asked a router got a login page, or the
error of a proxy."""

from __future__ import annotations

import re
from typing import Final

# No device writes a configuration that begins so. What a configuration holds further on, such as a
# script that writes a page, is nobody's business.
_BEGINS: Final = re.compile(
    r"\s*(?:HTTP/\d(?:\.\d)? \d{3}\b"
    r"|(?:<\?xml\b[^>]{0,200}\?>\s*)?(?:<!--(?:(?!-->).){0,500}-->\s*){0,5}"
    r"<(?:!doctype\s+html|html|head|body)[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_LOOKED_AT: Final = 8192


def is_web_page(text: str) -> bool:
    """Whether a text is a page of HTML, or the answer of a web server."""
    return _BEGINS.match(text[:_LOOKED_AT].lstrip("\ufeff")) is not None
