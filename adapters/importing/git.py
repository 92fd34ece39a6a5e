"""The history of a git repository of configurations, as Oxidized and RANCID keep it.

Every version of every file on the way of first parents is a reading: of the device that the file is
named after, at the time that its commit was made, with the commit's author. Times are the authors',
since a rewritten history has new times of committing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

import pygit2
from msgspec import Struct
from pygit2.enums import DeltaStatus, FileMode, SortMode

from adapters.importing.folder import FolderUnreadable
from adapters.importing.reading import decoded, device_name
from domain.errors import InvalidInput
from domain.ids import check_device_id
from domain.intake import MAX_AUTHOR, MAX_TEXT

_FILES: Final = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)
_NEW: Final = (DeltaStatus.ADDED, DeltaStatus.MODIFIED, DeltaStatus.TYPECHANGE)
# RANCID keeps its devices' configurations in folders of this name, and other files beside them.
_RANCID: Final = "configs"
_NO_DEVICES: Final = frozenset(("router.db", "readme", "readme.md", "license", "makefile"))


class GitReading(Struct, frozen=True, kw_only=True, gc=False):
    """A version of a file. The text is read from the repository when it is asked for: a long
    history has many of these, and only they are kept."""

    device_id: str
    at: int
    path: str
    commit: bytes
    author: str | None
    blob: bytes
    repository: Repository

    @property
    def collected_at(self) -> datetime:
        """When the commit was made."""
        return datetime.fromtimestamp(self.at, UTC)

    @property
    def where(self) -> str:
        """The file, and the commit."""
        return f"{self.path} at {self.commit.hex()[:10]}"

    def text(self) -> str:
        """The version's text. Raises `InvalidInput`."""
        return self.repository.text(self.blob)


class Repository:
    """A repository, opened for reading. Raises `FolderUnreadable`."""

    def __init__(self, path: Path) -> None:
        # Every object is looked at once.
        pygit2.settings.enable_caching(False)
        try:
            self._repo = pygit2.Repository(str(path))
        except (KeyError, pygit2.GitError) as error:
            rule = "git can't open it: it is damaged, or belongs to somebody else"
            raise FolderUnreadable(path, [rule]) from error

    def readings(self, *, branch: str | None, only: str | None) -> list[GitReading]:
        """All versions, in time order (at equal times in the order of commits).

        `only` is a pattern that files must match, with their folders. Raises `FolderUnreadable`.
        """
        path = Path(self._repo.path)
        versions = self._versions(self._tip(path, branch))
        names = _device_names(_devices_of({one.path for one in versions}, only))
        problems = []
        for file, name in names.items():
            try:
                check_device_id(name)
            except InvalidInput as error:
                problems.append(f"{file}: {error}")
        if problems:
            raise FolderUnreadable(path, problems)
        found = [
            GitReading(
                device_id=names[one.path],
                at=one.at,
                path=one.path,
                commit=one.commit,
                author=one.author,
                blob=one.blob,
                repository=self,
            )
            for one in versions
            if one.path in names
        ]
        if not found:
            raise FolderUnreadable(path, ["no commit holds a configuration"])
        return sorted(found, key=lambda one: one.at)

    def text(self, blob: bytes) -> str:
        """The text of a version. Raises `InvalidInput`."""
        found = self._repo[pygit2.Oid(raw=blob)]
        assert isinstance(found, pygit2.Blob)
        if found.size > MAX_TEXT:
            raise InvalidInput("config_text", f"must be at most {MAX_TEXT} bytes")
        return decoded(found.data)

    def _tip(self, path: Path, branch: str | None) -> pygit2.Oid:
        try:
            if branch is None:
                return self._repo.head.peel(pygit2.Commit).id
            return self._repo.revparse_single(branch).peel(pygit2.Commit).id
        except (KeyError, pygit2.GitError, pygit2.InvalidSpecError) as error:
            what = "the branch does not exist" if branch else "there is no commit in it"
            raise FolderUnreadable(path, [what]) from error

    def _versions(self, tip: pygit2.Oid) -> list[_Version]:
        walker = self._repo.walk(tip, SortMode.TOPOLOGICAL | SortMode.REVERSE)
        walker.simplify_first_parent()
        found: list[_Version] = []
        paths: dict[str, str] = {}
        authors: dict[str | None, str | None] = {}
        for commit in walker:
            if commit.parents:
                diff = commit.parents[0].tree.diff_to_tree(commit.tree)
            else:
                diff = commit.tree.diff_to_tree(swap=True)
            author = _author(commit)
            for delta in diff.deltas:
                if delta.status not in _NEW or delta.new_file.mode not in _FILES:
                    continue
                name = delta.new_file.path
                found.append(
                    _Version(
                        path=paths.setdefault(name, name),
                        at=commit.author.time,
                        commit=commit.id.raw,
                        author=authors.setdefault(author, author),
                        blob=delta.new_file.id.raw,
                    )
                )
        return found


class _Version(Struct, frozen=True, kw_only=True, gc=False):
    path: str
    at: int
    commit: bytes
    author: str | None
    blob: bytes


def is_repository(path: Path) -> bool:
    """Whether a folder itself is a repository, with a work tree or bare; not one inside of it."""
    bare = (path / "HEAD").is_file() and (path / "objects").is_dir()
    return bare or (path / ".git").exists()


def _devices_of(paths: Iterable[str], only: str | None) -> list[str]:
    """The files that hold a device's configuration."""
    split = {path: PurePosixPath(path).parts for path in paths}
    plain = {
        path: parts
        for path, parts in split.items()
        if not any(one.startswith(".") for one in parts) and parts[-1].lower() not in _NO_DEVICES
    }
    rancid = {path for path, parts in plain.items() if _RANCID in parts[:-1]}
    if rancid and any(parts[-1] == "router.db" for parts in split.values()):
        plain = {path: plain[path] for path in rancid}
    return [path for path in plain if only is None or fnmatch(path, only)]


def _device_names(paths: Iterable[str]) -> dict[str, str]:
    """The devices of files: their names, with their folders where two are alike."""
    alike: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        alike[device_name(PurePosixPath(path).name)].append(path)
    found = {}
    for name, same in alike.items():
        for path in same:
            folders = [one for one in PurePosixPath(path).parts[:-1] if one != _RANCID]
            found[path] = name if len(same) == 1 else "/".join((*folders, name))
    return found


def _author(commit: pygit2.Commit) -> str | None:
    author = commit.author
    told = f"{author.name} <{author.email}>" if author.email else author.name
    line = "".join(one if one.isprintable() else "?" for one in told).strip()
    return line[:MAX_AUTHOR] or None
