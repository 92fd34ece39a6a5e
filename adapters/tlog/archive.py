"""The file that a bundle is: a tar archive under zstd."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import zstandard

from domain.errors import InvalidInput


class Archive:
    """A tar file under zstd, which `tar --zstd` and every other tool reads. Whole, or not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now = int(time.time())
        self.size = 0

    def __enter__(self) -> Archive:
        try:
            # Texts may be in it: nobody else reads it until its owner says so.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb")
        except OSError as error:
            raise InvalidInput(str(self._path), f"can't be written: {error.strerror}") from error
        self._packed = zstandard.ZstdCompressor(level=6).stream_writer(self._file)
        self._tar = tarfile.open(fileobj=self._packed, mode="w|")
        return self

    def add(self, name: str, body: bytes) -> None:
        """One more file."""
        entry = tarfile.TarInfo(f"bundle/{name}")
        entry.size, entry.mtime, entry.mode = len(body), self._now, 0o644
        self._tar.addfile(entry, io.BytesIO(body))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._tar.close()
        self._packed.close()  # type: ignore[no-untyped-call]  # and the file under it
        self.size = self._path.stat().st_size
        if kind is not None:
            self._path.unlink()
