"""How long texts are kept: what decides, and what carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.composition.stores import Stores
from adapters.observability.metrics import Metrics
from adapters.retention.damaged import Damaged
from adapters.retention.deciding import Keeper
from adapters.retention.erasing import Eraser
from adapters.retention.expiring import Retention
from adapters.retention.orphans import Orphans
from adapters.retention.removing import BUCKET as RETENTION
from adapters.retention.removing import Remover


@dataclass(frozen=True, slots=True)
class Keeping:
    """What decides, and carries out, how long texts are kept."""

    keeper: Keeper
    retention: Retention
    eraser: Eraser
    remover: Remover
    orphans: Orphans


async def open_keeping(stores: Stores, metrics: Metrics) -> Keeping:
    """The parts, connected."""
    bucket = await stores.bucket(RETENTION)
    damaged = Damaged(metrics)
    remover = Remover(
        stores.events, stores.content, stores.keyring, stores.dead_letters, bucket, damaged
    )
    return Keeping(
        keeper=Keeper(stores.devices),
        retention=Retention(stores.nc, stores.js, stores.events, stores.devices, remover),
        eraser=Eraser(
            stores.nc,
            stores.js,
            stores.events,
            stores.devices,
            stores.content,
            stores.keyring,
            remover,
        ),
        remover=remover,
        orphans=Orphans(stores.events, stores.devices, stores.content, bucket, damaged),
    )
