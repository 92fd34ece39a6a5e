"""The first key of a system with servers of its own, so that somebody can use the API at all."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from secrets import token_hex

from adapters.access.keys import ApiKeys, NewKey
from adapters.embedded.files import write_private
from domain.access import EVERY_TENANT, Role
from domain.errors import NameTaken

NAME = "first-admin"
FILE = "api.key"


async def first_key(keys: ApiKeys, folder: Path) -> NewKey | None:
    """Make an admin's key when there never was a key for all tenants; None when there was.

    It lies in the data folder too, beside the keys that open the data, for commands that use the
    API; who reads that folder can read everything anyhow.
    """
    if (await keys.ring(EVERY_TENANT)).made:
        return None
    create = partial(keys.create, EVERY_TENANT, role=Role.ADMIN, actor="system:installer")
    try:
        made = await create(NAME)
    except NameTaken:
        # A tenant has a key of that name: no reason not to start.
        made = await create(f"{NAME}-{token_hex(4)}")
    write_private(folder / FILE, made.text + "\n")
    return made
