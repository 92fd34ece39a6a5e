"""A folder of exports as readings in time order.

Two layouts. With an `index.csv` (columns `device,version,commit_time,file`, perhaps `platform`, and
`sha256`, which is checked; others are ignored): a line a reading, `file` relative to the folder.
Without one: each file in the folder, or in a folder in it (as Oxidized's file output has it for
groups), is the only reading of a device, named by the file without an ending such as `.rsc`, taken
when the file was last modified.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from adapters.importing.reading import decoded, device_name
from adapters.ssh.profiles import PLATFORMS
from domain.errors import ConfigtrailError, InvalidInput
from domain.ids import check_device_id
from domain.json_fields import moment

INDEX: Final = "index.csv"
COLUMNS: Final = ("device", "version", "commit_time", "file")
_TOLD_MOST: Final = 20


class FolderReading(Struct, frozen=True, kw_only=True):
    """One export that lies in a file. `where` names its place for people; `sha256` is what the
    index says of the file's bytes (hex), None when it says nothing."""

    device_id: str
    collected_at: datetime
    path: Path
    where: str
    sha256: str | None = None
    platform: str | None = None
    author: str | None = None

    def text(self) -> str:
        """The export's text. Raises `InvalidInput`."""
        return text_of(self)


class FolderUnreadable(ConfigtrailError):
    """A folder can't be imported: nothing was. `problems` are all that were found."""

    def __init__(self, folder: Path, problems: Sequence[str]) -> None:
        told = list(problems[:_TOLD_MOST])
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        super().__init__(f"{folder} can't be imported, and nothing was: {'; '.join(told)}")
        self.folder = folder
        self.problems = tuple(problems)


def readings_of(folder: Path) -> list[FolderReading]:
    """The folder's readings in time order; at equal times in the order of the index.

    Raises `FolderUnreadable` with everything that is wrong with the index or the names.
    """
    if not folder.is_dir():
        raise FolderUnreadable(folder, ["it is not a folder"])
    index = folder / INDEX
    problems: list[str] = []
    found = _indexed(index, problems) if index.is_file() else _single_files(folder, problems)
    if not found and not problems:
        problems.append(f"there is neither an {INDEX} nor a file in it")
    if problems:
        raise FolderUnreadable(folder, problems)
    return sorted(found, key=lambda one: one.collected_at)


def text_of(reading: FolderReading) -> str:
    """The export's text: UTF-8, or UTF-16 with its byte order mark.

    Raises `InvalidInput` for bytes that are neither, or not those that the index names.
    """
    try:
        raw = reading.path.read_bytes()
    except OSError as error:
        raise InvalidInput("file", f"can't be read: {error.strerror}") from error
    if reading.sha256 is not None and hashlib.sha256(raw).hexdigest() != reading.sha256:
        raise InvalidInput("sha256", f"must be that of the file's bytes, as in {INDEX}; it is not")
    return decoded(raw)


def _indexed(index: Path, problems: list[str]) -> list[FolderReading]:
    found = []
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                problems.append(f"{INDEX}: the column {', '.join(missing)} is missing")
                return []
            for row in rows:
                where = f"{INDEX} line {rows.line_num}"
                try:
                    found.append(_line(index.parent, row, where))
                except InvalidInput as error:
                    problems.append(f"{where}: {error}")
    except (csv.Error, UnicodeDecodeError) as error:
        problems.append(f"{INDEX}: it is not CSV in UTF-8 ({type(error).__name__})")
    return found


def _line(folder: Path, row: dict[str, str | None], where: str) -> FolderReading:
    device = check_device_id((row["device"] or "").strip())
    try:
        taken = moment({"commit_time": (row["commit_time"] or "").strip()}, "commit_time")
    except InvalidInput as error:
        raise InvalidInput("commit_time", error.rule) from None
    name = (row["file"] or "").strip()
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidInput("file", "must name a file inside of the folder")
    if not path.is_file():
        raise InvalidInput("file", f"there is no {name}")
    return FolderReading(
        device_id=device,
        collected_at=taken,
        path=path,
        where=f"{name} ({where})",
        sha256=(row.get("sha256") or "").strip().lower() or None,
        platform=_platform(row),
    )


def _platform(row: dict[str, str | None]) -> str | None:
    name = (row.get("platform") or "").strip().lower()
    if name and name not in PLATFORMS:
        raise InvalidInput("platform", f"must be empty or one of {', '.join(PLATFORMS)}")
    return name or None


def _single_files(folder: Path, problems: list[str]) -> list[FolderReading]:
    found: dict[str, FolderReading] = {}
    for path in sorted((*folder.iterdir(), *folder.glob("[!.]*/*"))):
        if path.name.startswith(".") or not path.is_file():
            continue
        where = path.relative_to(folder).as_posix()
        try:
            device = check_device_id(device_name(path.name))
        except InvalidInput as error:
            problems.append(f"{where}: {error}")
            continue
        if device in found:
            problems.append(f"{where}: {found[device].where} is of the same device")
            continue
        found[device] = FolderReading(
            device_id=device,
            collected_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            path=path,
            where=where,
        )
    return list(found.values())
