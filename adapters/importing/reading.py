"""What is imported: a configuration that lies somewhere, with its device and time."""

from __future__ import annotations

import codecs
import hashlib
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final, Protocol

from domain.errors import InvalidInput

_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Other last parts of a name may belong to it: `r1.example.net`.
_ENDINGS: Final = frozenset(
    (".rsc", ".txt", ".text", ".cfg", ".conf", ".config", ".export", ".backup")
)


class Reading(Protocol):
    """One reading to import. `where` names its place for people, `author` who made it; `platform`
    is None where nothing says it."""

    @property
    def device_id(self) -> str: ...

    @property
    def collected_at(self) -> datetime:
        """When it was made. Raises `InvalidInput` when that is no time."""
        ...

    @property
    def where(self) -> str: ...

    @property
    def platform(self) -> str | None: ...

    @property
    def author(self) -> str | None: ...

    def text(self) -> str:
        """Its text; blocks. Raises `InvalidInput`, which quotes nothing."""
        ...


def device_name(file_name: str) -> str:
    """The device that a file is named after: the name without an ending of a text file."""
    path = PurePosixPath(file_name)
    return path.stem if path.suffix.lower() in _ENDINGS else path.name


def digest(text: str) -> str:
    """A text's SHA-256 in hex, by which its reading is known again."""
    return hashlib.sha256(text.encode()).hexdigest()


def decoded(raw: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with its byte order mark. Raises `InvalidInput`."""
    encoding = "utf-16" if raw.startswith(_UTF16) else "utf-8"
    place = None
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        place = error.start
    # Raised out here: the error above carries the bytes along.
    raise InvalidInput(
        "file",
        f"must be text in UTF-8 (or UTF-16 with a mark), and is not at byte {place}: if it is text "
        "of another encoding, convert it, say with iconv",
    )
