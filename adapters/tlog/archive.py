"""The file that a bundle is: a tar archive under zstd. Neither is ever in memory as a whole."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import time
from pathlib import Path
from typing import IO, cast

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

    def add_spool(self, name: str, spool: Spool) -> None:
        """One more file, which was written bit by bit."""
        entry = tarfile.TarInfo(f"bundle/{name}")
        entry.size, entry.mtime, entry.mode = spool.size, self._now, 0o644
        self._tar.addfile(entry, spool.rewound())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._tar.close()
        self._packed.close()  # type: ignore[no-untyped-call]  # and the file under it
        self.size = self._path.stat().st_size
        if kind is not None:
            self._path.unlink()


class Spool:
    """A file for an archive, whose length is known only when it is there: until then it lies,
    compressed and without a name, beside the archive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.size = 0

    def __enter__(self) -> Spool:
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise InvalidInput(str(self._folder), f"can't be written: {error.strerror}") from error
        self._packed = zstandard.ZstdCompressor(level=1).stream_writer(self._file, closefd=False)
        return self

    def write(self, body: bytes) -> None:
        """A bit more."""
        self._packed.write(body)
        self.size += len(body)

    def rewound(self) -> IO[bytes]:
        """All of it, from the beginning. Nothing more is written."""
        self._packed.close()  # type: ignore[no-untyped-call]
        self._file.seek(0)
        plain = zstandard.ZstdDecompressor().stream_reader(self._file, closefd=False)
        return io.BufferedReader(cast("io.RawIOBase", plain))

    def __exit__(self, *_: object) -> None:
        self._file.close()
