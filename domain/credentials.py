"""The events about stored credentials: that one was set, rotated or removed. Never what it is.

Each credential is told on a branch of its own, which no device can have.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from domain.device import DeviceState
from domain.envelope import NewEvent, new_event
from domain.errors import InvalidInput
from domain.events import CredentialRemoved, CredentialSet

STORE: Final = "store"
NAME_MAX: Final = 100
# What a stored credential may stand for, instead of holding a secret itself.
PLACES: Final = ("env", "file", "vault")
_BRANCH: Final = " credential "


def credential_branch(name: str) -> str:
    """Where a credential's events stand, in place of a device."""
    return _BRANCH + name


def credential_of(branch: str) -> str | None:
    """The credential whose events stand there; None when they are of something else."""
    return branch.removeprefix(_BRANCH) if branch.startswith(_BRANCH) else None


def check_credential_name(name: str) -> str:
    """`name`, or `InvalidInput` when no credential can have it."""
    if not name or len(name) > NAME_MAX or not name.isprintable() or name != name.strip():
        raise InvalidInput(
            "name", f"must be 1 to {NAME_MAX} printable characters, without spaces at its ends"
        )
    return name


def reference_to(name: str) -> str:
    """How an inventory names a stored credential."""
    return f"{STORE}:{name}"


def stored_name(reference: str | None) -> str | None:
    """The name of the stored credential that a reference means; None when it means none."""
    scheme, _, name = (reference or "").partition(":")
    return name if scheme == STORE else None


def credential_set(
    state: DeviceState,
    tenant_id: str,
    name: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    place: str,
    holds: tuple[str, ...],
    was_there: bool,
    reason: str | None,
) -> NewEvent:
    """A credential is set. `was_there`: there is one of that name, whether or not it was told."""
    event = CredentialSet(
        actor=actor,
        change_id=change_id,
        name=name,
        place=place,
        holds=holds,
        rotated=was_there or state.credential is not None,
        reason=reason,
    )
    branch = credential_branch(name)
    return new_event(tenant_id, branch, f"credential-set.{change_id}", occurred_at, event)


def credential_removed(
    state: DeviceState,
    tenant_id: str,
    name: str,
    *,
    change_id: str,
    actor: str,
    occurred_at: datetime,
    used_by: int,
    was_there: bool,
    reason: str | None,
) -> NewEvent | None:
    """A credential is removed; None when there is none."""
    if not was_there and state.credential is None:
        return None
    event = CredentialRemoved(
        actor=actor, change_id=change_id, name=name, used_by=used_by, reason=reason
    )
    branch = credential_branch(name)
    return new_event(tenant_id, branch, f"credential-removed.{change_id}", occurred_at, event)
