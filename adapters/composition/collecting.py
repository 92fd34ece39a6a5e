"""How devices are read: their credentials, when each is due, and what goes there."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.collecting.collection import DeviceCollector
from adapters.collecting.credentials import BUCKET as CREDENTIALS
from adapters.collecting.credentials import Credentials, CredentialStore
from adapters.collecting.schedule import BUCKET as SCHEDULE
from adapters.collecting.schedule import Schedule
from adapters.collecting.vault import Vault
from adapters.composition.stores import Stores
from adapters.jetstream.buckets import Bucket
from adapters.settings import Settings


@dataclass(frozen=True, slots=True)
class Collecting:
    """What reads devices."""

    credentials: CredentialStore
    schedule: Schedule
    collector: DeviceCollector


async def open_collecting(settings: Settings, stores: Stores) -> Collecting:
    """The parts, connected."""
    credentials = CredentialStore(Bucket(stores.js, CREDENTIALS), stores.keyring)
    schedule = Schedule(await stores.bucket(SCHEDULE))
    return Collecting(
        credentials=credentials,
        schedule=schedule,
        collector=DeviceCollector(
            devices=stores.devices,
            credentials=Credentials(credentials, _vault(settings), settings.credentials_folder),
            schedule=schedule,
            leases=stores.leases,
            intake=stores.intake,
            keyring=stores.keyring,
        ),
    )


def _vault(settings: Settings) -> Vault | None:
    if settings.vault_addr is None or settings.vault_token is None:
        return None
    return Vault(
        settings.vault_addr, settings.vault_token.get_secret_value(), settings.vault_namespace
    )
