"""Which files of a repository hold a device's configuration, and what the devices are called.

Invariant: a name depends on its own file's path alone. What else the repository holds, then or
later, renames no device, so that no history is ever split over two names. Files that would make one
device of two are left out instead, and told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Final, Literal

from msgspec import Struct

from adapters.importing.reading import device_name
from adapters.importing.sending import Refused
from domain.errors import InvalidInput
from domain.ids import check_device_id

# RANCID keeps its devices' configurations in folders of this name, and other files beside them.
_RANCID: Final = "configs"
_NO_DEVICES: Final = frozenset(("router.db", "readme", "readme.md", "license", "makefile"))

Naming = Literal["file", "path"]
"""After the file, without folders and a text file's ending; or after its whole path."""

Life = tuple[int, int]
"""From which commit on a file was there, and from which on no more."""


class Named(Struct, frozen=True):
    """The devices by the paths of their files, and the files that are none for a reason."""

    devices: Mapping[bytes, str]
    left_out: Sequence[Refused]


def devices_of(lives: Mapping[bytes, Sequence[Life]], only: str | None, naming: Naming) -> Named:
    """The devices of all files that ever were. `only` is a pattern for paths."""
    shown = {raw: raw.decode("utf-8", "backslashreplace") for raw in lives}
    wanted = _configurations(shown.values())
    devices: dict[bytes, str] = {}
    problems: dict[bytes, tuple[str, str]] = {}
    for raw, path in shown.items():
        if path not in wanted or not (only is None or fnmatch(path, only)):
            continue
        name = path if naming == "path" else device_name(PurePosixPath(path).name)
        if raw != path.encode():
            problems[raw] = ("file", "must have a name in UTF-8")
            continue
        try:
            devices[raw] = check_device_id(name)
        except InvalidInput as error:
            problems[raw] = (error.field, error.rule)
    for raw, other in _doubles(devices, lives).items():
        rule = (
            f"must be the only file of {devices[raw]}, but {shown[other]} was there at the same "
            "time: --names path tells them apart, --only chooses"
        )
        problems[raw] = ("file", rule)
    return Named(
        {raw: name for raw, name in devices.items() if raw not in problems},
        [Refused(shown[raw], *problems[raw], None) for raw in sorted(problems)],
    )


def _configurations(paths: Iterable[str]) -> set[str]:
    """The files that hold a configuration."""
    split = {path: PurePosixPath(path).parts for path in paths}
    plain = {
        path
        for path, parts in split.items()
        if not any(one.startswith(".") for one in parts) and parts[-1].lower() not in _NO_DEVICES
    }
    rancid = {path for path in plain if _RANCID in split[path][:-1]}
    if rancid and any(parts[-1] == "router.db" for parts in split.values()):
        return rancid
    return plain


def _doubles(
    devices: Mapping[bytes, str], lives: Mapping[bytes, Sequence[Life]]
) -> dict[bytes, bytes]:
    """The files that were there together with another one of their device, each with that one.

    One that came when the other had gone was moved, and is the same device.
    """
    by_name: dict[str, list[bytes]] = defaultdict(list)
    for raw, name in devices.items():
        by_name[name].append(raw)
    found: dict[bytes, bytes] = {}
    for alike in by_name.values():
        if len(alike) == 1:
            continue
        last: tuple[int, bytes] | None = None  # which of those that came before went last
        for born, died, raw in sorted((*life, one) for one in alike for life in lives[one]):
            if last is not None and born < last[0] and raw != last[1]:
                found.setdefault(raw, last[1])
                found.setdefault(last[1], raw)
            if last is None or died > last[0]:
                last = (died, raw)
    return found
