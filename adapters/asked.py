"""What somebody asks for, in the words in which it is recorded."""

from __future__ import annotations

from domain.errors import InvalidInput
from domain.routeros.menus import whole_path
from projections.audit.write import ACTIONS


def searchable(text: str | None) -> str | None:
    """Text that Postgres can take: it can't hold NUL, so nothing there has one."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}") if text else None


def section_named(text: str | None) -> str | None:
    """A section as it is recorded: `/ip firewall filter`, also for `/ip/firewall/filter`."""
    name = searchable(text)
    return (whole_path(name) or name) if name else None


def known_action(action: str | None) -> str | None:
    """The action, or `InvalidInput` for what no event is called: nothing would be found by it."""
    if action is not None and action not in ACTIONS.values():
        raise InvalidInput("action", f"must be one of {', '.join(sorted(ACTIONS.values()))}")
    return action
