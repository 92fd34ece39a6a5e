"""What can go wrong with servers of our own, and with the folder that they keep their data in."""

from __future__ import annotations

from pathlib import Path

from domain.errors import ConfigtrailError


class ServerFailed(ConfigtrailError):
    """An embedded server did not start, or ended by itself. `tail` is the end of its log.

    Server logs hold no secrets and no statements: they are configured so.
    """

    def __init__(self, service: str, reason: str, log: Path, tail: str) -> None:
        shown = f"; the end of {log}:\n{tail}" if tail else f"; its log is {log}"
        super().__init__(f"the embedded {service} failed: {reason}{shown}")
        self.service = service
        self.reason = reason
        self.log = log
        self.tail = tail


class DataFolderUnusable(ConfigtrailError):
    """The data folder can't be used as it is. `reason` says why and what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"data folder {path}: {reason}")
        self.path = path
        self.reason = reason


class NothingHere(ConfigtrailError):
    """A command that only looks was pointed at a folder in which nothing was ever kept."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"there is nothing in the data folder {path}: run configtrail up or make demo first, "
            "be in its folder, or name servers with CONFIGTRAIL_NATS_URL and "
            "CONFIGTRAIL_POSTGRES_DSN"
        )
        self.path = path


class DataFolderInUse(ConfigtrailError):
    """Another program works on the data folder; `pid` is its process, when it is known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"data folder {path} is in use by {who}; stop that first, or choose another folder"
        )
        self.path = path
        self.pid = pid
