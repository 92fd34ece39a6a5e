"""One sentence for each change: "firewall filter: rule 'allow winbox' moved from 4 to 2"."""

from __future__ import annotations

import re
from typing import Final

from domain.routeros.statements import Statement
from domain.routeros.strings import plain, printable
from domain.semantic.changes import Change
from domain.semantic.told import ToldProperty

_LONGEST: Final = 100
_FIND = re.compile(r"\[ ?find(?: where)? ?(.*?) ?\]\Z")
_CALLED: Final = (
    "name",
    "comment",
    "address",
    "dst-address",
    "interface",
    "interfaces",
    "mac-address",
    "bridge",
    "list",
    "peer",
    "network",
    "networks",
    "topics",
    "chain",
    "action",
)
_MENUS_OF_RULES = re.compile(r".*\bfirewall (?:filter|nat|mangle|raw)\Z|.*\b(?:filter|rule)\Z")
_SAYS_NOTHING: Final = frozenset(("action", "chain", "disabled", "log", "log-prefix"))
_MOST_LOOKS: Final = 2
# Where an entry is in something else, so that a change of it is a move.
_PLACES: Final = {
    "/interface bridge port": "bridge",
    "/interface bridge vlan": "bridge",
    "/interface list member": "list",
    "/interface vlan": "interface",
    "/interface wireguard peers": "interface",
    "/ip address": "interface",
    "/ip arp": "interface",
    "/ip dhcp-server lease": "server",
    "/ipv6 address": "interface",
}
_PEER: Final = ("name", "comment", "allowed-address", "public-key")
# What a command of its own does to what it names, and what is so when it is gone.
_COMMANDS: Final = {
    "disable": ("disabled", "no longer disabled"),
    "enable": ("enabled", "no longer enabled"),
    "remove": ("removed", "no longer removed"),
}


def place(section: str) -> str:
    """A menu in words: `/ip firewall filter` is `firewall filter`; for none it is the text."""
    if not section:
        return "the text"
    words = section.removeprefix("/")
    return words.removeprefix("ip ") if words.startswith("ip firewall") else words


def called(section: str, entry: Statement) -> str:
    """What a person calls an entry; empty for the settings of a whole menu."""
    if entry.verb != "add":
        target = entry.target
        found = _FIND.match(target)
        if found is None:
            return _short(plain(target))
        name, _, value = found[1].partition("=")
        if not value:
            return found[1] or "all"
        return "default" if name == "default" else _short(plain(value))
    if section == "/interface bridge vlan":
        return _short(f"vlan {entry.get('vlan-ids') or '?'} of {entry.get('bridge') or '?'}")
    if section == "/interface wireguard peers":
        return _short(next(filter(None, map(entry.get, _PEER)), ""))
    if section.endswith(" list member"):
        return " in ".join(_short(entry.get(name) or "?") for name in ("interface", "list"))
    if section.endswith(" address-list"):
        return " in ".join(_short(entry.get(name) or "?") for name in ("address", "list"))
    if section.endswith((" address", " lease")):
        return _short(entry.get("address") or entry.get("mac-address") or "")
    if section.endswith(" route"):
        return _short(entry.get("dst-address") or "default")
    if section == "/interface bridge port":
        return _short(entry.get("interface") or "")
    if _MENUS_OF_RULES.match(section) and not entry.get("comment"):
        return _short(_rule(entry))
    for name in _CALLED:
        value = entry.get(name)
        if value:
            return _short(value)
    return ""


def from_to(before: int | None, after: int | None) -> str:
    """That something moved, and from where to where. It may be at the same place after all, when
    others came or went."""
    if before == after:
        return f"moved past others, and is at {after} again"
    return f"moved from {before} to {after}"


def sentence(change: Change, properties: tuple[ToldProperty, ...], entry: str) -> str:
    """What changed, in words. All texts given are redacted already, and may be of any length."""
    where = place(change.section)
    subject = f"{where}: {_noun(change, entry)}" if entry or _is_entry(change) else where
    match change.kind:
        case "moved":
            assert change.before_place is not None
            assert change.after_place is not None
            before, after = change.before_place.position, change.after_place.position
            if change.entry is None:
                subject = f"{where}: a line that is not understood"
            return f"{subject} {from_to(before, after)}"
        case "added" if change.after is None:
            return f"{where}: a line that is not understood added"
        case "removed" if change.before is None:
            return f"{where}: a line that is not understood removed"
        case "added":
            return _added(change, subject, properties)
        case "removed":
            return _removed(change, subject, properties)
        case "enabled" | "disabled":
            return f"{subject} {change.kind}"
        case "renamed":
            one = properties[0]
            if one.before is None:
                return f"{subject} named {_quoted(one.after)}"
            if one.after is None:
                return f"{subject} lost its name {_quoted(one.before)}"
            return f"{where}: {_quoted(one.before)} renamed to {_quoted(one.after)}"
        case "modified":
            if (moved := _moved(change, properties)) is not None:
                thing = _thing(change, entry)
                places = (_short(one or "") for one in (moved.before, moved.after))
                return f"{where} {thing} moved from {' to '.join(places)}"
            return f"{subject}: {'; '.join(_told(one) for one in properties)}"


def _added(change: Change, subject: str, properties: tuple[ToldProperty, ...]) -> str:
    assert change.after is not None
    if change.after.verb not in ("add", "set"):
        return f"{subject}{_commanded(change.after.verb, 0)}"
    if change.after.verb == "set":
        if [(one.name, one.after) for one in properties] == [("disabled", "yes")]:
            return f"{subject} disabled"
        return f"{subject}: {'; '.join(_told(one) for one in properties) or 'set'}"
    position = change.after_place.position if change.after_place else None
    at = f" at {position}" if position else ""
    on = change.after.get("interface")
    where = f" on {on}" if on and change.section.endswith(" address") else ""
    return f"{subject} added{at}{where}"


def _removed(change: Change, subject: str, properties: tuple[ToldProperty, ...]) -> str:
    assert change.before is not None
    if change.before.verb not in ("add", "set"):
        return f"{subject}{_commanded(change.before.verb, 1)}"
    if change.before.verb == "set":
        if [(one.name, one.before) for one in properties] == [("disabled", "yes")]:
            return f"{subject} enabled"
        names = ", ".join(one.name for one in properties)
        return f"{subject}: back to the default: {names}" if names else f"{subject}: unset"
    position = change.before_place.position if change.before_place else None
    at = f", which was at {position}" if position else ""
    return f"{subject} removed{at}"


def _commanded(verb: str, gone: int) -> str:
    known = _COMMANDS.get(verb)
    return f" {known[gone]}" if known else f": command {verb} {'removed' if gone else 'added'}"


def _rule(entry: Statement) -> str:
    """A rule without a comment: what it does, and the first of what it looks at."""
    looks = [
        f"{one.name}={one.meaning}" for one in entry.properties if one.name not in _SAYS_NOTHING
    ]
    words = (entry.get("action") or "accept", entry.get("chain") or "", *looks[:_MOST_LOOKS])
    return " ".join(filter(None, words))


def _is_entry(change: Change) -> bool:
    """Whether it is one entry of a menu, not the settings of all of it."""
    return change.entry is not None and (change.entry.verb == "add" or bool(change.entry.target))


def _noun(change: Change, entry: str) -> str:
    noun = "rule" if _MENUS_OF_RULES.match(change.section) else ""
    if change.entry is not None and change.entry.verb != "add" and entry.isdigit():
        return f"{noun or 'entry'} number {entry}"
    return " ".join(filter(None, (noun, _quoted(entry) if entry else ""))) or "an entry"


def _moved(change: Change, properties: tuple[ToldProperty, ...]) -> ToldProperty | None:
    """The property that says where an entry is, if it is all that changed."""
    if len(properties) != 1 or change.after is None or change.after.verb != "add":
        return None
    [one] = properties
    is_place = one.name == _PLACES.get(change.section)
    return one if is_place and one.before and one.after else None


def _thing(change: Change, entry: str) -> str:
    """An entry without the place that it has moved to."""
    assert change.after is not None
    if change.section == "/interface bridge vlan":
        return _short(change.after.get("vlan-ids") or "?")
    if change.section == "/interface list member":
        return _short(change.after.get("interface") or "?")
    return entry


def _told(one: ToldProperty) -> str:
    if one.gone or one.new:
        both = (("added", one.new), ("removed", one.gone))
        told = (f"{', '.join(members)} {what}" for what, members in both if members)
        return _short(f"{one.name}: {' and '.join(told)}")
    if one.before is None:
        return f"{one.name} set to {_value(one.after)}" if one.after else f"{one.name} set"
    if one.after is None:
        return f"{one.name} {_value(one.before)} unset" if one.before else f"{one.name} gone"
    if max(len(one.before), len(one.after)) > _LONGEST:
        sizes = f"{len(one.before)} characters before, {len(one.after)} now"
        return f"{one.name} changed ({sizes})"
    return f"{one.name} changed from {_value(one.before)} to {_value(one.after)}"


def _value(text: str | None) -> str:
    shown = _short(text or "")
    return shown if shown and " " not in shown else _quoted(shown)


def _quoted(text: str | None) -> str:
    return f"'{_short(text or '')}'"


def _short(text: str) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(printable(text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
