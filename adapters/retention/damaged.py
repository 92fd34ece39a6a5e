"""Stored texts that can't be read as what they are said to be: told of, and left as they are.

`audit verify` names them. Whoever removes texts goes on with the others.
"""

from __future__ import annotations

import logging

from adapters.observability.metrics import Metrics
from domain.errors import ContentCorrupt

log = logging.getLogger(__name__)


class Damaged:
    """Tells of them in the log and in the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def tell(self, where: str, error: ContentCorrupt) -> None:
        """Once more one was met. It stays where it is: it may be all that shows what happened."""
        log.error("%s: %s; it is left as it is: run configtrail audit verify", where, error)
        self._metrics.content_damaged.inc()
