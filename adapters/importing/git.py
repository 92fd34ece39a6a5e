"""The history of a git repository of configurations, as Oxidized and RANCID keep it.

Every version of every file on the way of first parents is a reading: of the device that the file is
named after, at the time that its commit was made, with the commit's author. Times are the authors',
since a rewritten history has new times of committing.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pygit2
from msgspec import Struct
from pygit2.enums import DeltaStatus, FileMode, ObjectType

from adapters.importing.commits import Commit, parse_commit
from adapters.importing.folder import FolderUnreadable
from adapters.importing.naming import Life, Naming, devices_of
from adapters.importing.reading import decoded
from adapters.importing.sending import Refused
from domain.errors import InvalidInput
from domain.intake import MAX_TEXT

_FILES: Final = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)
_NEW: Final = (DeltaStatus.ADDED, DeltaStatus.MODIFIED, DeltaStatus.TYPECHANGE)
_WINDOW_BYTES: Final = 1024 * 1024
_MAPPED_BYTES: Final = 16 * 1024 * 1024
_BROKEN: Final = (
    "its history breaks off: an object is missing or damaged; a clone with --depth or --filter has "
    "not all of them"
)


class GitReading(Struct, frozen=True, kw_only=True, gc=False):
    """A version of a file. The text is read from the repository when it is asked for: a long
    history has many of these, and only they are kept."""

    device_id: str
    at: int | None
    path: str
    commit: bytes
    author: str | None
    blob: bytes
    repository: Repository

    @property
    def collected_at(self) -> datetime:
        """When the commit was made. Raises `InvalidInput`: git takes any number for a time."""
        try:
            if self.at is not None:
                return datetime.fromtimestamp(self.at, UTC)
        except (ValueError, OverflowError, OSError):
            pass
        raise InvalidInput("collected_at", "must lie in the years 1 to 9999: its commit's does not")

    @property
    def platform(self) -> None:
        """Nothing in a repository says it."""
        return None

    @property
    def where(self) -> str:
        """The file, and the commit."""
        return f"{self.path} at {self.commit.hex()[:10]}"

    def text(self) -> str:
        """The version's text. Raises `InvalidInput`."""
        return self.repository.text(self.blob)


class GitHistory(Struct, frozen=True):
    """The versions in time order (at equal times in the order of commits), and the files that are
    left out of it."""

    readings: list[GitReading]
    left_out: list[Refused]


class Repository:
    """A repository, opened for reading. Raises `FolderUnreadable`."""

    def __init__(self, path: Path) -> None:
        # Every object is looked at once.
        pygit2.settings.enable_caching(False)
        # What is mapped of a pack is memory of ours, and without bounds a long history all is.
        pygit2.settings.mwindow_size = _WINDOW_BYTES
        pygit2.settings.mwindow_mapped_limit = _MAPPED_BYTES
        try:
            self._repo = pygit2.Repository(str(path))
        except (KeyError, pygit2.GitError) as error:
            raise FolderUnreadable(path, [_why_closed(path, str(error))]) from error

    def history(
        self, *, branch: str | None = None, only: str | None = None, naming: Naming = "file"
    ) -> GitHistory:
        """All versions of all devices. Raises `FolderUnreadable`.

        `only` is a pattern that files must match, with their folders.
        """
        path = Path(self._repo.path)
        walked = _Walk()
        tip = self._tip(path, branch)
        try:
            self._walk(tip, walked)
        except (KeyError, pygit2.GitError) as error:
            raise FolderUnreadable(path, [_BROKEN]) from error
        named = devices_of(walked.lives, only, naming)
        readings = [
            GitReading(
                device_id=named.devices[one.path],
                at=one.at,
                path=walked.shown(one.path),
                commit=one.commit,
                author=one.author,
                blob=one.blob,
                repository=self,
            )
            for one in walked.versions
            if one.path in named.devices
        ]
        if not readings:
            told = [f"{one.where}: {one.rule}" for one in named.left_out]
            raise FolderUnreadable(path, told or ["no commit holds a configuration"])
        return GitHistory(sorted(readings, key=lambda one: one.at or 0), list(named.left_out))

    def text(self, blob: bytes) -> str:
        """The text of a version. Raises `InvalidInput`."""
        try:
            found = self._repo[pygit2.Oid(raw=blob)]
        except (KeyError, pygit2.GitError) as error:
            raise InvalidInput("file", "must be in the repository: it is missing there") from error
        assert isinstance(found, pygit2.Blob)
        if found.size > MAX_TEXT:
            raise InvalidInput("config_text", f"must be at most {MAX_TEXT} bytes")
        return decoded(found.data)

    def _tip(self, path: Path, branch: str | None) -> pygit2.Oid:
        try:
            if branch is None:
                tip = self._repo.head.target
                assert isinstance(tip, pygit2.Oid)
                return tip
            return self._repo.revparse_single(branch).peel(pygit2.Commit).id
        except (KeyError, pygit2.GitError) as error:
            what = "the branch does not exist" if branch else "there is no commit in it"
            raise FolderUnreadable(path, [what]) from error

    def _walk(self, tip: pygit2.Oid, walked: _Walk) -> None:
        """Go back along first parents, and then forth again over what each commit changed."""
        way: list[bytes] = []
        at: pygit2.Oid | None = tip
        while at is not None:
            way.append(at.raw)
            at = self._parent(self._commit(at))
        before: pygit2.Tree | None = None
        for raw in reversed(way):
            commit = self._commit(pygit2.Oid(raw=raw))
            tree = self._repo[commit.tree].peel(pygit2.Tree)
            diff = tree.diff_to_tree(swap=True) if before is None else before.diff_to_tree(tree)
            walked.take(raw, commit, diff)
            before = tree

    def _commit(self, oid: pygit2.Oid) -> Commit:
        kind, raw = self._repo.read(oid)
        commit = parse_commit(raw) if kind == ObjectType.COMMIT else None
        if commit is None:
            raise KeyError(str(oid))
        return commit

    def _parent(self, commit: Commit) -> pygit2.Oid | None:
        """The first parent; none where a clone was told to stop (`--depth`)."""
        if commit.parent is None or (self._repo.is_shallow and commit.parent not in self._repo):
            return None
        return pygit2.Oid(hex=commit.parent)


class _Version(Struct, frozen=True, kw_only=True, gc=False):
    path: bytes
    at: int | None
    commit: bytes
    author: str | None
    blob: bytes


class _Walk:
    """What a walk over the commits has met: versions, and when each file was there."""

    def __init__(self) -> None:
        self.versions: list[_Version] = []
        self._went: dict[bytes, list[Life]] = defaultdict(list)
        self._there: dict[bytes, int] = {}
        self._authors: dict[str | None, str | None] = {}
        self._paths: dict[bytes, tuple[bytes, str]] = {}
        self._commits = 0

    @property
    def lives(self) -> dict[bytes, list[Life]]:
        """When each file was there."""
        still = {path: [(born, self._commits + 1)] for path, born in self._there.items()}
        return {
            path: [*self._went.get(path, ()), *still.get(path, ())]
            for path in (*self._went, *(one for one in still if one not in self._went))
        }

    def shown(self, path: bytes) -> str:
        """A path as text, one and the same for all its versions."""
        return self._paths[path][1]

    def take(self, oid: bytes, commit: Commit, diff: pygit2.Diff) -> None:
        """What a commit changed."""
        self._commits += 1
        author = commit.author
        for delta in diff.deltas:
            path = delta.new_file.raw_path
            path, _ = self._paths.setdefault(path, (path, path.decode("utf-8", "replace")))
            if delta.status not in _NEW or delta.new_file.mode not in _FILES:
                if path in self._there:
                    self._went[path].append((self._there.pop(path), self._commits))
                continue
            self._there.setdefault(path, self._commits)
            self.versions.append(
                _Version(
                    path=path,
                    at=commit.at,
                    commit=oid,
                    author=self._authors.setdefault(author, author),
                    blob=delta.new_file.id.raw,
                )
            )


def is_repository(path: Path) -> bool:
    """Whether a folder itself is a repository, with a work tree or bare; not one inside of it."""
    bare = (path / "HEAD").is_file() and (path / "objects").is_dir()
    return bare or (path / ".git").exists()


def _why_closed(path: Path, told: str) -> str:
    """Why git's library does not open a repository, by what it said."""
    if "object format" in told:
        return (
            "its objects are named by SHA-256, which is not supported: import a copy of it "
            f"(git init COPY; git -C {path} fast-export --all | git -C COPY fast-import)"
        )
    if "not owned" in told:
        return (
            "it belongs to somebody else: import it as its owner, or tell git that it is safe "
            f"(git config --global --add safe.directory {path})"
        )
    if "unsupported" in told:
        return f"it is of a form that is not supported ({told.rpartition(': ')[2]})"
    return f"git can't open it, it is damaged ({told})"
