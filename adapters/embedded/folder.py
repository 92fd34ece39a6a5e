"""The data folder as a unit: one program at a time, its secrets, and where its servers answer."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from adapters.embedded.errors import DataFolderInUse, DataFolderUnusable
from adapters.embedded.files import write_private

T = TypeVar("T")

_LOCK = "lock"
_SECRETS = "secrets.json"
_RUNTIME = "runtime.json"
# Others may hold the lock for a moment, to see whether it is held.
_LOCK_WITHIN = 1.0


class Endpoints(msgspec.Struct, frozen=True):
    """Where the servers answer. Both hold passwords: never to be logged."""

    nats_url: str
    postgres_dsn: str

    def __repr__(self) -> str:
        return "Endpoints(…)"


class Secrets(msgspec.Struct, frozen=True):
    """What the servers of one data folder were made with; lost, the data is lost too."""

    nats_user: str
    nats_password: str
    jetstream_key: str
    postgres_password: str

    def __repr__(self) -> str:
        return "Secrets(…)"

    @classmethod
    def generate(cls) -> Secrets:
        """Fresh ones, 128 bits and more each."""
        return cls(
            nats_user="configtrail",
            nats_password=secrets.token_hex(16),
            jetstream_key=secrets.token_hex(32),
            postgres_password=secrets.token_hex(16),
        )


class DataFolder:
    """A data folder that this program holds. Use as an async context manager.

    Entering raises `DataFolderInUse` when another program holds it, and `DataFolderUnusable`
    when it can't be written or others could read its secrets.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    async def __aenter__(self) -> Self:
        self._make()
        self._lock = await self._take_lock()
        try:
            self.withdraw()
        except BaseException:
            self._release()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.withdraw()
        finally:
            self._release()

    def secrets(self) -> Secrets:
        """The folder's secrets, made at the first call.

        Raises `DataFolderUnusable` when they are damaged, may be read by others, or are gone
        while the data that they belong to is there.
        """
        path = self.path / _SECRETS
        try:
            return _read_private(path, Secrets)
        except FileNotFoundError:
            orphans = [name for name in ("nats", "postgres") if (self.path / name).exists()]
        if orphans:
            raise DataFolderUnusable(
                self.path,
                f"{_SECRETS} is missing, and without it {' and '.join(orphans)} can't be opened;"
                " put it back from a copy, or choose another folder",
            )
        fresh = Secrets.generate()
        write_private(path, msgspec.json.encode(fresh).decode())
        return fresh

    def publish(self, endpoints: Endpoints) -> None:
        """Let other commands on this machine, of the same user, find the servers."""
        write_private(self.path / _RUNTIME, msgspec.json.encode(endpoints).decode())

    def withdraw(self) -> None:
        """Take back what `publish` said."""
        (self.path / _RUNTIME).unlink(missing_ok=True)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DataFolderUnusable(self.path, f"can't be made: {error.strerror}") from error
        status = self.path.stat()
        if status.st_uid != os.geteuid():
            raise DataFolderUnusable(
                self.path,
                f"belongs to the user {status.st_uid}; run as that user, or choose another folder",
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise DataFolderUnusable(
                self.path, "others may write into it; take that away (chmod go-w) first"
            )

    async def _take_lock(self) -> int:
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = asyncio.get_running_loop().time() + _LOCK_WITHIN
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if asyncio.get_running_loop().time() > deadline:
                        raise DataFolderInUse(self.path, _pid_in(descriptor)) from None
                await asyncio.sleep(0.02)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _release(self) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None


def is_held(path: Path) -> bool:
    """Whether a program holds the data folder."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_kept(path: Path) -> bool:
    """Whether a program ever kept its data in the folder."""
    return (path / _SECRETS).exists()


def published(path: Path) -> Endpoints | None:
    """Where the servers of a held data folder are said to answer, or None."""
    if not is_held(path):
        return None
    try:
        return _read_private(path / _RUNTIME, Endpoints)
    except FileNotFoundError:
        return None


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _read_private(path: Path, kind: type[T]) -> T:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise DataFolderUnusable(
                path.parent,
                f"others may read {path.name}, which holds passwords and keys;"
                f" take that away first: chmod 600 {path}",
            )
        body = file.read()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise DataFolderUnusable(path.parent, f"{path.name} is damaged: {error}") from error
