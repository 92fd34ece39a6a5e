"""The history of a git repository comes in as it was: versions, times, authors, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pygit2
import pytest

from adapters.importing.folder import FolderUnreadable, readings_of
from adapters.importing.git import Repository, is_repository
from domain.errors import InvalidInput
from tests.doubles.routeros import export_text

START = datetime(2024, 3, 1, 6, tzinfo=UTC)


class History:
    """A repository that grows commit by commit, an hour apart."""

    def __init__(self, path: Path) -> None:
        self.repo = pygit2.init_repository(str(path), bare=True, initial_head="main")
        self._files: dict[str, bytes] = {}
        self._commits = 0

    def commit(self, author: str = "oxidized", **changes: str | bytes | None) -> None:
        """One commit; a name's `__` stands for a folder, None removes a file."""
        for name, text in changes.items():
            path = name.replace("__", "/").replace("_dot_", ".")
            if text is None:
                del self._files[path]
            else:
                self._files[path] = text.encode() if isinstance(text, str) else text
        at = START + timedelta(hours=self._commits)
        self._commits += 1
        signature = pygit2.Signature(
            author, f"{author}@example.net", int(at.timestamp()), offset=120
        )
        index = pygit2.Index()
        for path, raw in self._files.items():
            blob = self.repo.create_blob(raw)
            index.add(pygit2.IndexEntry(path, blob, pygit2.enums.FileMode.BLOB))
        head = self.repo.references.get("refs/heads/main")
        parents = [head.target] if head is not None else []
        tree = index.write_tree(self.repo)
        self.repo.create_commit("refs/heads/main", signature, signature, "x", tree, parents)


def export(name: str) -> str:
    return export_text("7.14.3", name=name)


def test_every_version_is_a_reading_at_its_time_with_its_author(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(r1=export("a"), r2_dot_example_dot_net=export("b"))
    history.commit("alice", r1=export("c"))
    history.commit(r1=None)
    history.commit(r1=export("d"), edge__r3_dot_rsc=export("e"))
    assert is_repository(tmp_path / "repo")
    found = Repository(tmp_path / "repo").readings(branch=None, only=None)
    assert [(one.device_id, (one.collected_at - START) // timedelta(hours=1)) for one in found] == [
        ("r1", 0),
        ("r2.example.net", 0),
        ("r1", 1),
        ("r3", 3),
        ("r1", 3),
    ]
    assert {one.author for one in found} == {
        "oxidized <oxidized@example.net>",
        "alice <alice@example.net>",
    }
    assert found[2].text() == export("c")
    only = Repository(tmp_path / "repo").readings(branch="main", only="edge/*")
    assert [one.device_id for one in only] == ["r3"]


def test_rancids_folders_and_devices_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(
        core__configs__r1=export("a"),
        edge__configs__r1=export("b"),
        edge__configs__r2=export("c"),
        core__router_dot_db="r1;mikrotik;up",
        edge__routers_dot_up="r1",
        _dot_gitignore="x",
    )
    found = Repository(tmp_path / "repo").readings(branch=None, only=None)
    assert {one.device_id for one in found} == {"core/r1", "edge/r1", "r2"}


def test_what_is_no_text_is_refused_when_it_is_read(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(r1=b"\xff\xfe\xff")
    (found,) = Repository(tmp_path / "repo").readings(branch=None, only=None)
    with pytest.raises(InvalidInput):
        found.text()


def test_an_empty_repository_an_unknown_branch_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    History(tmp_path / "empty")
    with pytest.raises(FolderUnreadable, match="no commit"):
        Repository(tmp_path / "empty").readings(branch=None, only=None)
    history = History(tmp_path / "repo")
    history.commit(r1="x")
    with pytest.raises(FolderUnreadable, match="branch"):
        Repository(tmp_path / "repo").readings(branch="nowhere", only=None)
    (tmp_path / "damaged" / "objects").mkdir(parents=True)
    (tmp_path / "damaged" / "HEAD").write_text("ref: refs/heads/main")
    with pytest.raises(FolderUnreadable, match="damaged"):
        Repository(tmp_path / "damaged")


def test_a_folder_inside_of_a_repository_is_a_folder(tmp_path: Path) -> None:
    pygit2.init_repository(str(tmp_path))
    inner = tmp_path / "exports" / "berlin"
    inner.mkdir(parents=True)
    (tmp_path / "exports" / "r1.example.net").write_text(export("a"))
    (inner / "r2.rsc").write_text(export("b"))
    assert not is_repository(tmp_path / "exports")
    assert {one.device_id for one in readings_of(tmp_path / "exports")} == {"r1.example.net", "r2"}
