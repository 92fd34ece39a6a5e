"""What a bundle is exported from, and whom its reader trusts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from adapters.postgres.tiles import TileStore
from domain.tlog.names import STREAM_LOG, LogNames, tenant_log
from domain.tlog.note import VerifierKey
from projections.rows import Pool
from tests.logs import BASE, KEY
from tests.rig import Rig

TENANT = "acme"


def exporting(rig: Rig, pool: Pool, witnesses: str = "") -> Any:
    """As much of a system as an export takes."""
    return SimpleNamespace(
        log=SimpleNamespace(
            events=rig.raw,
            notes=rig.notes,
            checkpoints=rig.checkpoints,
            tiles=TileStore(pool),
        ),
        settings=SimpleNamespace(log_name=BASE, witnesses=witnesses),
        content=rig.content,
    )


def trusted(known: LogNames) -> tuple[VerifierKey, ...]:
    """The keys of the tenant's log and the stream's."""
    return tuple(KEY.verifier(known.origin(log)) for log in (tenant_log(TENANT), STREAM_LOG))
