"""Read models in Postgres, folded from the stream of events, and the engine that runs them."""

from typing import Any

from projections.access import Access
from projections.audit.write import Audit
from projections.backups.write import Backups
from projections.diffs.write import Diffs
from projections.fleet import Fleet
from projections.projection import Projection

BACKUPS = Backups()
DIFFS = Diffs()
AUDIT = Audit()
FLEET = Fleet()
ACCESS = Access()
ALL: tuple[Projection[Any], ...] = (BACKUPS, DIFFS, AUDIT, FLEET, ACCESS)

__all__ = ["ACCESS", "ALL", "AUDIT", "BACKUPS", "DIFFS", "FLEET"]
