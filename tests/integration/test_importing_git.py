"""The history of a git repository comes in as it was: versions, times, authors, once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importing.commits import parse_commit
from adapters.importing.folder import FolderUnreadable, readings_of
from adapters.importing.git import Repository, is_repository
from adapters.importing.naming import Life, Naming, devices_of
from adapters.importing.sending import Text, together
from domain.errors import InvalidInput
from domain.intake import MAX_AUTHOR
from tests.doubles.routeros import export_text

START = datetime(2024, 3, 1, 6, tzinfo=UTC)
AUTHOR = b"A <a@b> 1700000000 +0000"
COMMIT = b"tree %s\n" % (b"0" * 40)


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

    def raw_commit(self, files: dict[bytes, bytes], author: bytes = AUTHOR) -> None:
        """A commit as no library makes one: of these files, and with this author."""
        entries = b"".join(
            b"100644 %s\x00%s" % (name, self.repo.create_blob(raw).raw)
            for name, raw in sorted(files.items())
        )
        tree = self.repo.write(pygit2.enums.ObjectType.TREE, entries)
        head = self.repo.references["refs/heads/main"]
        lines = [f"tree {tree}", f"parent {head.target}"]
        head_lines = "\n".join(lines).encode()
        raw = b"%s\nauthor %s\ncommitter %s\n\nx" % (head_lines, author, AUTHOR)
        head.set_target(self.repo.write(pygit2.enums.ObjectType.COMMIT, raw))


def export(name: str) -> str:
    return export_text("7.14.3", name=name)


def test_every_version_is_a_reading_at_its_time_with_its_author(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(r1=export("a"), r2_dot_example_dot_net=export("b"))
    history.commit("alice", r1=export("c"))
    history.commit(r1=None)
    history.commit(r1=export("d"), edge__r3_dot_rsc=export("e"))
    assert is_repository(tmp_path / "repo")
    found = Repository(tmp_path / "repo").history().readings
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
    only = Repository(tmp_path / "repo").history(branch="main", only="edge/*").readings
    assert [one.device_id for one in only] == ["r3"]


def test_of_rancids_repository_only_its_configurations_are_read(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(
        core__configs__r1=export("a"),
        edge__configs__r2=export("c"),
        core__router_dot_db="r1;mikrotik;up",
        edge__routers_dot_up="r1",
        _dot_gitignore="x",
    )
    found = Repository(tmp_path / "repo").history().readings
    assert {one.device_id for one in found} == {"r1", "r2"}


def devices(repo: Path, naming: Naming = "file", only: str | None = None) -> dict[str, str]:
    found = Repository(repo).history(only=only, naming=naming)
    return {one.path: one.device_id for one in found.readings}


def test_a_device_keeps_its_name_whatever_comes_into_the_repository(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    history = History(repo)
    history.commit(a__r1=export("a"), a__r2_dot_cfg=export("b"))
    assert devices(repo) == {"a/r1": "r1", "a/r2.cfg": "r2"}
    history.commit(b__r1=export("c"), a__r2_dot_txt=export("d"), r3=export("e"))
    assert devices(repo) == {"r3": "r3"}
    assert [(one.where, one.field) for one in Repository(repo).history().left_out] == [
        ("a/r1", "file"),
        ("a/r2.cfg", "file"),
        ("a/r2.txt", "file"),
        ("b/r1", "file"),
    ]
    assert devices(repo, only="a/r1") == {"a/r1": "r1"}
    by_path = devices(repo, "path")
    assert by_path == {one: one for one in ("a/r1", "a/r2.cfg", "a/r2.txt", "b/r1", "r3")}


def test_a_file_that_was_moved_is_the_same_device(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(a__r1=export("a"))
    history.commit(a__r1=None, b__r1=export("b"))
    history.commit(b__r1=None)
    history.commit(a__r1=export("c"))
    assert devices(tmp_path / "repo") == {"a/r1": "r1", "b/r1": "r1"}


LIVES = st.dictionaries(
    st.builds(
        "/".join,
        st.tuples(st.sampled_from("ab"), st.sampled_from(("r1", "r1.cfg", "r2.txt", "r2"))),
    ).map(str.encode),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1).map(
        lambda spans: [(born, born + length) for born, length in spans]
    ),
)


@given(LIVES)
def test_no_two_files_are_one_device_at_the_same_time_and_all_others_are(
    lives: dict[bytes, list[Life]],
) -> None:
    def together(one: bytes, other: bytes) -> bool:
        return any(a < d and c < b for a, b in lives[one] for c, d in lives[other])

    names = {path: path.decode().split("/")[1].partition(".")[0] for path in lives}
    wanted = {
        path: name
        for path, name in names.items()
        if not any(
            other != path and names[other] == name and together(path, other) for other in lives
        )
    }
    found = devices_of(lives, None, "file")
    assert found.devices == wanted
    assert {one.where.encode() for one in found.left_out} == lives.keys() - wanted.keys()


def test_a_name_that_is_no_utf8_costs_only_its_own_file(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(r1=export("a"))
    history.raw_commit({b"r\xe4": b"x", b"r2": b"y", b".\xff": b"z"})
    found = Repository(tmp_path / "repo").history()
    assert {one.device_id for one in found.readings} == {"r1", "r2"}
    assert [(one.where, one.field, one.rule) for one in found.left_out] == [
        ("r\\xe4", "file", "must have a name in UTF-8")
    ]


@pytest.mark.parametrize(
    "author",
    [
        b"A <a@b> 253402300800 +0000",
        b"A <a@b> -1000000000000000 +0000",
        b"A <a@b> 9223372036854775807 +0000",
        b"A <a@b> %d +0000" % 10**30,
        b"A <a@b>",
        b"nobody",
        b"",
    ],
)
def test_a_commit_of_no_possible_date_costs_only_itself(tmp_path: Path, author: bytes) -> None:
    history = History(tmp_path / "repo")
    history.commit(r1=export("a"))
    history.raw_commit({b"r2": b"x"}, author)
    history.raw_commit({b"r3": b"y"})
    found = Repository(tmp_path / "repo").history().readings
    texts = dict(zip([one.device_id for one in found], together(found, 0), strict=True))
    assert {name for name, text in texts.items() if isinstance(text, Text)} == {"r1", "r3"}
    refused = texts["r2"]
    assert isinstance(refused, InvalidInput)
    assert refused.field == "collected_at"
    (where,) = [one.where for one in found if one.device_id == "r2"]
    assert re.fullmatch("r2 at [0-9a-f]{10}", where)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda raw: COMMIT + raw))
def test_whatever_a_commit_says_is_read_or_none(raw: bytes) -> None:
    found = parse_commit(raw)
    assert (found is not None) == bool(re.match(rb"tree [0-9a-f]{40}\n", raw))
    if found is not None and found.author is not None:
        assert found.author.isprintable()
        assert 0 < len(found.author) <= MAX_AUTHOR


@given(
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=90),
    st.integers(-(10**18), 10**18),
)
def test_author_and_date_come_out_as_they_went_in(name: str, at: int) -> None:
    found = parse_commit(COMMIT + f"author {name} <{name}@x> {at} +0200\n\nauthor y".encode())
    assert found is not None
    assert (found.author, found.at) == (f"{name} <{name}@x>"[:MAX_AUTHOR], at)


def test_a_missing_object_is_told_as_such(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(r1=export("a"))
    history.commit(r1=export("b"))
    first, second = Repository(tmp_path / "repo").history().readings
    gone = history.repo[pygit2.Oid(raw=first.blob)].id
    (tmp_path / "repo" / "objects" / str(gone)[:2] / str(gone)[2:]).unlink()
    fresh = Repository(tmp_path / "repo").history().readings
    with pytest.raises(InvalidInput, match="missing"):
        fresh[0].text()
    assert fresh[1].text() == second.text()
    parent = str(pygit2.Oid(raw=first.commit))
    (tmp_path / "repo" / "objects" / parent[:2] / parent[2:]).unlink()
    with pytest.raises(FolderUnreadable, match="breaks off"):
        Repository(tmp_path / "repo").history()
    (tmp_path / "repo" / "shallow").write_text(f"{pygit2.Oid(raw=second.commit)}\n")
    assert len(Repository(tmp_path / "repo").history().readings) == 1


def test_repositories_of_forms_that_are_not_known_are_told_as_such(tmp_path: Path) -> None:
    for name, extension, told in (
        ("hashes", "objectformat = sha256", "SHA-256"),
        ("references", "refstorage = reftable", "refstorage"),
    ):
        History(tmp_path / name).commit(r1=export("a"))
        config = tmp_path / name / "config"
        text = config.read_text()
        assert "formatversion = 0" in text
        text = text.replace("formatversion = 0", "formatversion = 1")
        config.write_text(f"{text}[extensions]\n\t{extension}\n")
        with pytest.raises(FolderUnreadable, match=told) as found:
            Repository(tmp_path / name)
        assert "damaged" not in str(found.value)


def test_what_is_no_text_is_refused_when_it_is_read(tmp_path: Path) -> None:
    history = History(tmp_path / "repo")
    history.commit(r1=b"\xff\xfe\xff")
    (found,) = Repository(tmp_path / "repo").history().readings
    with pytest.raises(InvalidInput):
        found.text()


def test_an_empty_repository_an_unknown_branch_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    History(tmp_path / "empty")
    with pytest.raises(FolderUnreadable, match="no commit"):
        Repository(tmp_path / "empty").history()
    history = History(tmp_path / "repo")
    history.commit(r1="x")
    with pytest.raises(FolderUnreadable, match="branch"):
        Repository(tmp_path / "repo").history(branch="nowhere")
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
