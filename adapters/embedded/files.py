"""Files that nobody else may read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, text: str, *, like: Path | None = None) -> None:
    """Write a file with mode 0600 in one step: never half of it, at no moment readable. It belongs
    to whom the file `like` does, else to who runs this."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if like is not None:
            give_to_owner_of(like, file.fileno())
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def give_to_owner_of(path: Path, descriptor: int) -> None:
    """Have an open file belong to whom another one does. Raises `OSError` for who may not."""
    wanted, is_of = path.stat(), os.fstat(descriptor)
    if (wanted.st_uid, wanted.st_gid) != (is_of.st_uid, is_of.st_gid):
        os.fchown(descriptor, wanted.st_uid, wanted.st_gid)


def sync_folder(path: Path) -> None:
    """Make names that were made in or moved into a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
