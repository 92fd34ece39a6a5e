"""Who changed a device between two readings, as far as the device's own history tells.

A device keeps few actions, by a clock of its own. What can't be known is said to be unknown: nobody
is named for want of another name.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, get_args

from msgspec import Struct

from domain.errors import InvalidInput
from domain.events import ActionKind, Attribution, Changer, UnknownReason
from domain.json_fields import matching_choice, moment, optional, required

MOST_ACTIONS: Final = 500
_MOST_NAME: Final = 100
_MOST_CHANGERS: Final = 50
# Devices tell whole seconds: an action may have been later than it says.
_RESOLUTION: Final = timedelta(seconds=1)


class DeviceAction(Struct, frozen=True, kw_only=True):
    """Something that somebody did on a device: never what, only of which kind."""

    who: str | None
    at: datetime
    kind: ActionKind


class DeviceHistory(Struct, frozen=True, kw_only=True):
    """What a device remembers. Everything since `reaches_back_to` is in it; None: nobody knows
    since when. `unreadable` says why nothing can be made of it."""

    actions: tuple[DeviceAction, ...] = ()
    reaches_back_to: datetime | None = None
    unreadable: UnknownReason | None = None


def attributed(
    history: DeviceHistory | None, since: datetime | None, until: datetime
) -> Attribution | None:
    """Who made a change that happened after `since` and up to `until`; all of them, when they were
    several. None without a history, and for a device's first configuration."""
    if history is None or since is None:
        return None
    if history.unreadable is not None:
        return Attribution(certainty="unknown", reason=history.unreadable)
    listed = [one for one in history.actions if since - _RESOLUTION < one.at <= until]
    whole = history.reaches_back_to is not None and history.reaches_back_to <= since
    if not listed:
        return Attribution(
            certainty="unknown", reason="none_listed" if whole else "history_too_short"
        )
    people: dict[str | None, list[DeviceAction]] = {}
    for action in listed:
        people.setdefault(action.who, []).append(action)
    # So many at once are no persons; the event stays small.
    kept = list(people.items())[:_MOST_CHANGERS]
    whole = whole and len(kept) == len(people)
    return Attribution(
        certainty="known" if whole else "incomplete",
        reason=None if whole else "history_too_short",
        people=tuple(_changer(who, actions) for who, actions in kept),
    )


def history_as_json(history: DeviceHistory) -> dict[str, object]:
    """As it goes over the intake."""
    reach = history.reaches_back_to
    return {
        "actions": [
            {"who": one.who, "at": one.at.isoformat(), "kind": one.kind} for one in history.actions
        ],
        "reaches_back_to": reach.isoformat() if reach else None,
        "unreadable": history.unreadable,
    }


def parse_device_history(fields: dict[str, object]) -> DeviceHistory | None:
    """The field `device_history` of a message; None when absent. Raises `InvalidInput`."""
    found = optional(fields, "device_history", dict)
    if found is None:
        return None
    actions = found.get("actions", [])
    if not isinstance(actions, list) or len(actions) > MOST_ACTIONS:
        raise InvalidInput("device_history", f"must have at most {MOST_ACTIONS} actions, as a list")
    return DeviceHistory(
        actions=tuple(_action(one) for one in actions),
        reaches_back_to=moment(found, "reaches_back_to") if found.get("reaches_back_to") else None,
        unreadable=matching_choice(found, "unreadable", get_args(UnknownReason)),
    )


def _action(found: object) -> DeviceAction:
    if not isinstance(found, dict):
        raise InvalidInput("device_history", "must have objects as its actions")
    who = optional(found, "who", str)
    if who is not None and not (1 <= len(who) <= _MOST_NAME and who.isprintable()):
        raise InvalidInput("who", f"must be 1 to {_MOST_NAME} printable characters")
    required(found, "kind", str)
    kind = matching_choice(found, "kind", get_args(ActionKind))
    assert kind is not None
    return DeviceAction(who=who, at=moment(found, "at"), kind=kind)


def _changer(who: str | None, actions: list[DeviceAction]) -> Changer:
    return Changer(
        who=who,
        first_at=min(one.at for one in actions),
        last_at=max(one.at for one in actions),
        actions=len(actions),
        kinds=tuple(dict.fromkeys(one.kind for one in actions)),
    )
