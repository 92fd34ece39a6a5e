"""The folder with the accounts: what the server includes, and the tenants' passwords."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from adapters.accounts.configuration import TenantAccount, accounts_block
from adapters.embedded.files import write_private
from domain.errors import InvalidInput
from domain.ids import check_tenant_id

CONFIGURATION = "accounts.conf"
PASSWORDS = "accounts.json"
_HEAD = "# Written by `configtrail accounts`; changes are lost. It has passwords in it.\n"


class AccountsFolder:
    """Tenants in, and the server's configuration out. Both files are for their owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tenants(self) -> list[TenantAccount]:
        """The tenants with an account, by name. Raises `InvalidInput` for a file that was damaged:
        its passwords are not made anew, since somebody uses them."""
        path = self._folder / PASSWORDS
        try:
            found = msgspec.json.decode(path.read_bytes(), type=list[TenantAccount])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidInput(str(path), f"can't be read ({type(error).__name__})") from None
        return found

    def of(self, tenant_id: str) -> TenantAccount:
        """A tenant's account. Raises `InvalidInput` when there is none."""
        for one in self.tenants():
            if one.tenant_id == tenant_id:
                return one
        raise InvalidInput(
            "tenant", f"{tenant_id} has no account here; configtrail accounts add {tenant_id}"
        )

    def add(self, tenant_ids: list[str]) -> list[str]:
        """Give tenants an account; those that have one keep it. Returns whom it was given to."""
        for tenant_id in tenant_ids:
            check_tenant_id(tenant_id)
        known = {one.tenant_id: one for one in self.tenants()}
        new = sorted(set(tenant_ids) - set(known))
        for tenant_id in new:
            poller, reader, keeper = (secrets.token_hex(24) for _ in range(3))
            known[tenant_id] = TenantAccount(
                tenant_id=tenant_id, poller=poller, reader=reader, keeper=keeper
            )
        self._write(known)
        return new

    def remove(self, tenant_id: str) -> None:
        """Take an account away. Raises `InvalidInput` when there is none."""
        known = {one.tenant_id: one for one in self.tenants()}
        if known.pop(tenant_id, None) is None:
            raise InvalidInput("tenant", f"{tenant_id} has no account here")
        self._write(known)

    def _write(self, known: dict[str, TenantAccount]) -> None:
        tenants = [known[name] for name in sorted(known)]
        self._folder.mkdir(parents=True, exist_ok=True)
        write_private(self._folder / PASSWORDS, msgspec.json.encode(tenants).decode() + "\n")
        write_private(self._folder / CONFIGURATION, _HEAD + accounts_block(tenants))
