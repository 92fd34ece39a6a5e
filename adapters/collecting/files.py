"""Inventories in files, as rows with their places: YAML, CSV, and `router.db` of other tools.

`router.db` is either Oxidized's (`name:model`, `name:model:username`) or RANCID's
(`name;model;up`). What stands in further columns there is a password, and refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml
from msgspec import Struct
from msgspec.structs import replace
from yaml.reader import ReaderError

from adapters.ssh.profiles import PLATFORMS
from domain.errors import InvalidInput
from domain.events import GivenSettings
from domain.fields import FIELDS, OF_ONE_DEVICE, Problem, check_names, given_of, printable
from domain.groups import check_group
from domain.inventory import Entry, InventoryRefused, Judged, Row, judge

_MODELS: Final = {
    "mikrotik": "routeros",
    "cisco": "ios",
    "juniper": "junos",
    "arista": "eos",
    "fortigate": "fortios",
    "fortinet": "fortios",
    "iosxe": "ios",
}


_MERGE: Final = "tag:yaml.org,2002:merge"
_NULL: Final = "tag:yaml.org,2002:null"


class _Rows(Struct):
    """`lacking` are columns that were missed already, once for all rows."""

    rows: list[Row]
    problems: list[Problem]
    groups: dict[str, GivenSettings] | None = None
    lacking: Sequence[str] = ()


def read_inventory(path: Path) -> list[Entry]:
    """The entries of an inventory file. Raises `InventoryRefused` with every problem."""
    judged = judge_inventory(path)
    if judged.problems:
        raise InventoryRefused(judged.problems)
    return judged.entries


def judge_inventory(path: Path) -> Judged:
    """The entries of an inventory file and all its problems. Raises `InventoryRefused` for one
    that can't be read at all."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InventoryRefused([Problem(path.name, "file", f"can't be read: {reason}")]) from error
    except UnicodeDecodeError:
        raise InventoryRefused([Problem(path.name, "file", "must be UTF-8")]) from None
    match path.suffix.lower():
        case ".yaml" | ".yml":
            found = _yaml(text, path.name)
        case ".csv":
            found = _csv(text, path.name)
        case ".db":
            found = _router_db(text, path.name)
        case _:
            rule = "must end with .yaml, .yml, .csv or .db"
            raise InventoryRefused([Problem(path.name, "file", rule)])
    if not found.rows and not found.problems:
        found.problems.append(Problem(path.name, "file", "holds no device"))
    judged = judge(found.rows, PLATFORMS, found.problems, groups=found.groups)
    untold = [one for one in judged.problems if one.field not in found.lacking]
    return replace(judged, problems=untold)


def _csv(text: str, name: str) -> _Rows:
    found = _Rows([], [])
    header: list[str] | None = None
    for number, line in _csv_lines(text):
        where = f"{name} line {number}"
        if line is None:
            found.problems.append(Problem(where, "file", "must be CSV"))
        elif not any(cell.strip() for cell in line) or line[0].lstrip().startswith("#"):
            continue
        elif header is None:
            header = [cell.strip().lower() for cell in line]
            if not set(header) & set(FIELDS):
                # Its cells are values: they may be anything, and are not quoted.
                rule = f"must name the columns, such as name,address: {', '.join(FIELDS)}"
                found.problems.append(Problem(where, "first line", rule))
                return found
            doubled = sorted({one for one in header if header.count(one) > 1})
            if doubled:
                found.problems.append(Problem(where, "columns", "must not be there twice"))
            found.lacking = [one for one in ("name", "address") if one not in header]
            if found.lacking:
                rule = "must have name and address"
                found.problems.append(Problem(where, "columns", rule))
            # Told once here, and not again for every line.
            found.problems.extend(check_names(dict.fromkeys(header), where))
        else:
            if len(line) != len(header):
                rule = f"must be {len(header)} as in the first line, there are {len(line)}"
                found.problems.append(Problem(where, "columns", rule))
            fields = {one: value for one, value in zip(header, line, strict=False) if one in FIELDS}
            # Of one that is too long nobody knows which cell is one too many.
            found.rows.append(Row(where, fields, broken=len(line) > len(header)))
    return found


def _csv_lines(text: str) -> Iterator[tuple[int, list[str] | None]]:
    """The lines with their numbers; None for one that is no CSV."""
    # Not splitlines, which also ends lines at characters that may stand in a value.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            line = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.line_num, None
        else:
            yield reader.line_num, line


def _router_db(text: str, name: str) -> _Rows:
    found = _Rows([], [])
    for number, line in enumerate(io.StringIO(text), 1):
        where = f"{name} line {number}"
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if ";" in bare:
            columns = [one.strip() for one in bare.split(";")]
            fields = {"enabled": "yes" if columns[2:3] == ["up"] else "no"}
        else:
            columns = [one.strip() for one in bare.split(":")]
            if columns[2:] in (["up"], ["down"]):  # RANCID before its version 3
                fields = {"enabled": "yes" if columns[2] == "up" else "no"}
            else:
                fields = {"username": columns[2]} if columns[2:3] not in ([], [""]) else {}
            if any(columns[3:]):
                rule = "a secret must not stand in an inventory: take the columns after it out"
                found.problems.append(Problem(where, "password", rule))
        if len(columns) < 2:
            rule = "must be name:model[:username], or name;model;up"
            found.problems.append(Problem(where, "columns", rule))
            continue
        model = columns[1].lower()
        fields |= {"name": columns[0], "address": columns[0]}
        found.rows.append(Row(where, {**fields, "platform": _MODELS.get(model, model)}))
    return found


def _yaml(text: str, name: str) -> _Rows:
    found = _Rows([], [])
    try:
        loader = yaml.SafeLoader(text)
    except ReaderError as error:
        where = f"{name} line {text.count(chr(10), 0, error.position) + 1}"
        found.problems.append(Problem(where, "file", "holds a character that YAML does not allow"))
        return found
    try:
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name} line {mark.line + 1}" if mark else name
        found.problems.append(Problem(where, "file", "must be YAML"))
        return found
    except (ValueError, OverflowError):  # an escape such as \UFFFFFFFF
        rule = "holds an escape that is no character"
        found.problems.append(Problem(f"{name} line {loader.line + 1}", "file", rule))
        return found
    except RecursionError:
        found.problems.append(Problem(name, "file", "must not nest as deeply as it does"))
        return found
    places = _Places(name, found.problems)
    top = places.mapping(root, "file")
    shared: dict[str, str] = {}
    fallback: GivenSettings | None = None
    groups: dict[str, GivenSettings] | None = None
    of_groups: dict[str, yaml.Node] = {}
    for key, node in top.items():
        if key == "defaults":
            defaults = places.fields(node, "defaults")
            shared = {one: defaults.pop(one) for one in ("address", "group") if one in defaults}
            fallback = places.given(node, defaults)
        elif key == "groups":
            of_groups = dict(places.mapping(node, "groups"))
            groups = {
                places.group(one, group): places.given(one, places.fields(one, "groups"))
                for group, one in of_groups.items()
            }
        elif key != "devices":
            places.tell(node, printable(key), "must be one of defaults, groups, devices")
    for node, given in _devices(top.get("devices"), places):
        fields = {**shared, **given}
        if fields.get("group") and groups and fields["group"] not in groups:
            places.tell(node, "group", "must be one of those under groups")
        found.rows.append(Row(places.at(node), fields, fallback))
    names = {row.fields.get("name") for row in found.rows}
    for group, node in of_groups.items():
        jump = groups[group].jump if groups else None
        if jump is not None and jump not in names:
            places.tell(node, "jump", "must name a device of this inventory")
    return _Rows(found.rows, found.problems, groups)


def _devices(node: yaml.Node | None, places: _Places) -> list[tuple[yaml.Node, dict[str, str]]]:
    """A list of devices, or a mapping of their names."""
    if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
        return []
    if isinstance(node, yaml.SequenceNode):
        return [(one, places.fields(one, "devices")) for one in node.value]
    if isinstance(node, yaml.MappingNode):
        return [
            (one, {"name": str(key.value), **places.fields(one, "devices")})
            for key, one in node.value
        ]
    if node is not None:
        places.tell(node, "devices", "must be a list, or a mapping of names")
    return []


class _Places:
    """Nodes of a YAML file as plain values, with their places; what is wrong is told."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self._name = name
        self._problems = problems

    def at(self, node: yaml.Node) -> str:
        """Where a node stands."""
        return f"{self._name} line {node.start_mark.line + 1}"

    def tell(self, node: yaml.Node, field: str, rule: str) -> None:
        """Tell a problem of a node."""
        self._problems.append(Problem(self.at(node), field, rule))

    def group(self, node: yaml.Node, name: str) -> str:
        """The name of a group that a node is the content of."""
        try:
            return check_group(name)
        except InvalidInput as error:
            self.tell(node, "groups", f"a group's name {error.rule}")
            return name

    def given(self, node: yaml.Node, fields: Mapping[str, str]) -> GivenSettings:
        """What the fields of a node give to several devices."""
        where = self.at(node)
        self._problems += check_names(fields, where)
        for name in OF_ONE_DEVICE:
            if name in fields:
                self.tell(node, name, "must stand with a device")
        return given_of(fields, PLATFORMS, where, self._problems)

    def mapping(self, node: yaml.Node | None, field: str) -> Mapping[str, yaml.Node]:
        """A mapping's nodes by key."""
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.tell(node, field, "must be a mapping")
            return {}
        found: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                merged = {**self._merged(value, field), **merged}
                continue
            name = str(key.value)
            if name in found:
                self.tell(key, printable(name), "must not be there twice")
            found[name] = value
        return {**merged, **found}

    def _merged(self, node: yaml.Node, field: str) -> Mapping[str, yaml.Node]:
        """What `<<` brings in: a mapping, or several of which the first that has a field counts.

        One that merges others itself is refused: an alias may lead back to itself.
        """
        several = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, yaml.Node] = {}
        for one in several:
            if not isinstance(one, yaml.MappingNode) or any(k.tag == _MERGE for k, _ in one.value):
                self.tell(node, field, "must merge mappings that merge nothing themselves")
                continue
            for key, value in one.value:
                found.setdefault(str(key.value), value)
        return found

    def fields(self, node: yaml.Node, field: str) -> dict[str, str]:
        """A mapping's values as text; a list becomes its items with blanks between them."""
        found = {}
        for name, value in self.mapping(node, field).items():
            if isinstance(value, yaml.ScalarNode):
                found[name] = "" if value.tag == _NULL else str(value.value)
            elif isinstance(value, yaml.SequenceNode) and all(
                isinstance(one, yaml.ScalarNode) for one in value.value
            ):
                found[name] = " ".join(str(one.value) for one in value.value)
            else:
                self.tell(value, printable(name), "must be a plain value or a list of such")
        return found
