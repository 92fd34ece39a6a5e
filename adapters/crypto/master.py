"""A master key: the one secret that is not in NATS. It wraps every tenant's keys."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.crypto.committed import KEY_BYTES
from adapters.embedded.files import give_to_owner_of, sync_folder
from domain.errors import KeyUnavailable

MASTER_ID_BYTES: Final = 16
_NAME: Final = "the master key"
_MAX_FILE_BYTES: Final = 4096


class MasterKey:
    """32 random bytes. Neither `repr` nor any error shows them."""

    __slots__ = ("_raw", "master_id")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise KeyUnavailable(_NAME, f"it must be {KEY_BYTES} bytes, is {len(raw)}")
        self._raw = raw
        self.master_id = self._derive("id", MASTER_ID_BYTES)

    def __repr__(self) -> str:
        return f"MasterKey({self.master_id.hex()[:8]}…)"

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, which does not give the master key away."""
        return self._derive(f"key/{purpose}", KEY_BYTES)

    def _derive(self, purpose: str, length: int) -> bytes:
        info = f"configtrail/master/v1/{purpose}".encode()
        return HKDF(SHA512(), length=length, salt=None, info=info).derive(self._raw)

    @classmethod
    def from_base64(cls, text: str) -> MasterKey:
        """The key from base64 (RFC 4648, section 4). Raises `KeyUnavailable`."""
        try:
            raw = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            # The cause would quote from the key.
            raise KeyUnavailable(
                _NAME, "it is not base64; make one with: openssl rand -base64 32"
            ) from None
        return cls(raw)

    def to_base64(self) -> str:
        """The key itself, as a file holds it: for nothing else."""
        return base64.b64encode(self._raw).decode()

    @classmethod
    def generate(cls) -> MasterKey:
        """A new random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def generate_file(cls, path: Path) -> MasterKey:
        """Make a key and its file (mode 0600): the whole file or none, never over another.

        Raises `FileExistsError` when the file is there, also when it was made just now, and
        `KeyUnavailable` when it can't be written.
        """
        key = cls.generate()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_new(path, f"{key.to_base64()}\n")
        except FileExistsError:
            raise
        except OSError as error:
            raise KeyUnavailable(
                _NAME, f"the file {path} can't be written: {error.strerror}"
            ) from error
        return key


def read_keys(path: Path) -> list[MasterKey]:
    """The keys of a file that nobody but its owner may read: one a line, the first one is the key,
    others are former ones. Raises `KeyUnavailable`."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyUnavailable(
                    _NAME,
                    f"others may use the file {path} (mode {mode:04o}); "
                    f"run: chmod 600 {path}, and replace the key if they may have read it",
                )
            content = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyUnavailable(_NAME, f"there is no file {path}") from error
    except OSError as error:
        raise KeyUnavailable(_NAME, f"the file {path} can't be read: {error.strerror}") from error
    try:
        if len(content) > _MAX_FILE_BYTES:
            raise KeyUnavailable(_NAME, f"it is not a key of {KEY_BYTES} bytes")
        lines = content.decode("latin-1").split("\n")
        return [MasterKey.from_base64(line) for line in [lines[0], *filter(str.strip, lines[1:])]]
    except KeyUnavailable as error:
        raise KeyUnavailable(f"{_NAME} in {path}", error.reason) from None


def write_new(path: Path, text: str, *, like: Path | None = None) -> None:
    """Write a file (mode 0600): the whole file or none. It belongs to whom the file `like` does.
    Raises `FileExistsError` rather than to write over another, and `OSError`."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            if like is not None:
                give_to_owner_of(like, file.fileno())
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces what is there.
        os.link(fresh, path)
    finally:
        fresh.unlink()
    sync_folder(path.parent)
