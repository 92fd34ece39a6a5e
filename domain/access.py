"""Who may do what: permissions, roles as sets of them, and the principal that asks.

Everything is denied that is not granted. A grant is for one tenant, or for every tenant.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

# In a grant: every tenant, and what belongs to none. No tenant can have this name.
EVERY_TENANT: Final = "*"


class Permission(StrEnum):
    """What a request may be allowed to do.

    `READ` shows texts without their secrets; `REVEAL` shows them as they are, and each time is
    recorded.
    """

    READ = "read"
    REVEAL = "reveal"
    SEARCH = "search"
    AUDIT = "audit"
    TRIGGER = "trigger"
    UPLOAD = "upload"
    INVENTORY = "inventory"
    DEAD_LETTERS = "dead_letters"
    PROJECTIONS = "projections"
    KEYS = "keys"


class Role(StrEnum):
    """What somebody is for a tenant."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.AUDITOR: frozenset({Permission.READ, Permission.AUDIT}),
    Role.OPERATOR: frozenset(
        {
            Permission.READ,
            Permission.SEARCH,
            Permission.TRIGGER,
            Permission.UPLOAD,
            Permission.INVENTORY,
            Permission.DEAD_LETTERS,
            Permission.REVEAL,
        }
    ),
    Role.ADMIN: frozenset(Permission),
}


class Grant(Struct, frozen=True):
    """Permissions for a tenant, or for `EVERY_TENANT`."""

    tenant: str
    permissions: frozenset[Permission]


def granted(tenant: str, role: Role, only: frozenset[Permission] | None = None) -> Grant:
    """What a role grants; `only`: no more than these of it."""
    permissions = PERMISSIONS[role]
    return Grant(tenant, permissions if only is None else permissions & only)


class Principal(Struct, frozen=True, kw_only=True):
    """Who asks. `actor` is how events name them, `key_id` the API key that they came with.
    `keys_until`: keys that they make end by then; None: those need not end. `until`: when what
    they came with ends, the key or the token; None: not by itself."""

    actor: str
    grants: tuple[Grant, ...] = ()
    key_id: str | None = None
    keys_until: datetime | None = None
    until: datetime | None = None

    @property
    def home(self) -> str:
        """In whose audit trail it is told what they were refused."""
        return self.grants[0].tenant if self.grants else EVERY_TENANT

    def knows(self, tenant: str) -> bool:
        """Whether the tenant exists for them."""
        return any(one.tenant in (tenant, EVERY_TENANT) for one in self.grants)

    def belongs_to(self, tenant: str) -> bool:
        """Whether the tenant is named among theirs, and not only one of all."""
        return any(one.tenant == tenant for one in self.grants)

    def may(self, permission: Permission, tenant: str) -> bool:
        """Whether they may do it to this tenant; `EVERY_TENANT`: to all of them."""
        return any(
            permission in one.permissions and one.tenant in (tenant, EVERY_TENANT)
            for one in self.grants
        )
