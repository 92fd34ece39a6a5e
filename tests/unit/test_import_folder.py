"""Reading a folder of exports: both layouts, and every way in which they can be wrong."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.importing.folder import FolderUnreadable, readings_of, text_of
from domain.errors import InvalidInput

HEAD = "device,version,commit_time,file"


def indexed(folder: Path, *lines: str, head: str = HEAD) -> Path:
    """A folder with an index; every file that a line names is there and says its own name."""
    for line in lines:
        name = line.rpartition(",")[2] if head == HEAD else line.split(",")[3]
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"/system identity\nset name={name}\n")
    (folder / "index.csv").write_text("\n".join((head, *lines)) + "\n")
    return folder


def test_an_index_gives_readings_in_time_order(tmp_path: Path) -> None:
    folder = indexed(
        tmp_path,
        "r1,2,2024-01-03T00:00:00Z,r1/002.rsc",
        "r1,0,2024-01-01T00:00:00Z,r1/000.rsc",
        "r2,0,2024-01-02T00:00:00+01:00,r2/000.rsc",
        "r1,1,2024-01-01T00:00:00Z,r1/001.rsc",
    )
    found = readings_of(folder)
    assert [(one.device_id, one.path.name) for one in found] == [
        ("r1", "000.rsc"),
        ("r1", "001.rsc"),
        ("r2", "000.rsc"),
        ("r1", "002.rsc"),
    ]
    assert found[2].collected_at == datetime(2024, 1, 1, 23, tzinfo=UTC)
    assert text_of(found[0]) == "/system identity\nset name=r1/000.rsc\n"


def test_single_files_are_devices_read_when_they_were_modified(tmp_path: Path) -> None:
    for name, moment in (("r2.cfg", 1_700_000_000), ("r1.rsc", 1_700_000_060), (".hidden", 0)):
        (tmp_path / name).write_text("text\n")
        os.utime(tmp_path / name, (moment, moment))
    (tmp_path / "a folder").mkdir()
    found = readings_of(tmp_path)
    assert [one.device_id for one in found] == ["r2", "r1"]
    assert found[0].collected_at == datetime.fromtimestamp(1_700_000_000, UTC)


def test_all_that_is_wrong_with_an_index_is_told_at_once(tmp_path: Path) -> None:
    folder = indexed(tmp_path, "r1,0,2024-01-01T00:00:00Z,r1/000.rsc")
    (tmp_path.parent / "outside.rsc").write_text("x")
    with (folder / "index.csv").open("a") as file:
        file.write("r1,1,yesterday,r1/000.rsc\n")
        file.write(" \t,1,2024-01-01T00:00:00Z,r1/000.rsc\n")
        file.write("r1,1,2024-01-01T00:00:00Z,r1/nothing.rsc\n")
        file.write("r1,1,2024-01-01T00:00:00Z,../outside.rsc\n")
        file.write("r1,1\n")
    with pytest.raises(FolderUnreadable) as caught:
        readings_of(folder)
    told = caught.value.problems
    assert [one.partition(":")[0] for one in told] == [f"index.csv line {n}" for n in range(3, 8)]
    for problem, word in zip(
        told, ("commit_time", "device_id", "there is no", "inside of", "commit_time"), strict=True
    ):
        assert word in problem
    assert "nothing was" in str(caught.value)


def test_an_index_may_say_whose_text_each_is(tmp_path: Path) -> None:
    folder = indexed(
        tmp_path,
        "r1,0,2024-01-01T00:00:00Z,r1.rsc,",
        "s1,0,2024-01-02T00:00:00Z,s1.cfg,IOS",
        "s2,0,2024-01-03T00:00:00Z,s2.cfg, junos ",
        head=f"{HEAD},platform",
    )
    assert [one.platform for one in readings_of(folder)] == [None, "ios", "junos"]
    indexed(folder, "r1,0,2024-01-01T00:00:00Z,r1.rsc")
    assert [one.platform for one in readings_of(folder)] == [None]


@pytest.mark.parametrize("column", ["Platform", "PLATFORM", " platform"])
def test_a_column_is_known_however_it_is_written(tmp_path: Path, column: str) -> None:
    head = f"Device,version,Commit_Time,file,{column}"
    folder = indexed(tmp_path, "s1,0,2024-01-02T00:00:00Z,s1.cfg,ios", head=head)
    assert [(one.device_id, one.platform) for one in readings_of(folder)] == [("s1", "ios")]


def test_a_platform_that_is_none_is_refused(tmp_path: Path) -> None:
    line = "s1,0,2024-01-02T00:00:00Z,s1.cfg,cisco"
    with pytest.raises(FolderUnreadable, match="line 2: platform: must be empty or one of"):
        readings_of(indexed(tmp_path, line, head=f"{HEAD},platform"))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("device,file\nr1,r1.rsc\n")
    with pytest.raises(FolderUnreadable, match="the column version, commit_time is missing"):
        readings_of(tmp_path)


def test_an_index_that_is_no_csv_in_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_bytes(HEAD.encode() + b"\nr1,0,\xff,r1.rsc\n")
    with pytest.raises(FolderUnreadable, match="not CSV in UTF-8"):
        readings_of(tmp_path)


def test_nothing_to_import_is_said(tmp_path: Path) -> None:
    with pytest.raises(FolderUnreadable, match=r"neither an index\.csv nor a file"):
        readings_of(tmp_path)
    with pytest.raises(FolderUnreadable, match="it is not a folder"):
        readings_of(tmp_path / "missing")


def test_two_files_of_one_device_need_an_index(tmp_path: Path) -> None:
    for name in ("r1.rsc", "r1.cfg"):
        (tmp_path / name).write_text("x")
    with pytest.raises(FolderUnreadable, match=r"r1\.rsc: r1\.cfg is of the same device"):
        readings_of(tmp_path)
    (tmp_path / "r1.cfg").unlink()
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "r1").write_text("x")
    with pytest.raises(FolderUnreadable, match=r"r1\.rsc: edge/r1 is of the same device"):
        readings_of(tmp_path)


def test_the_indexs_hash_is_checked_over_the_files_bytes(tmp_path: Path) -> None:
    body = b"/system identity\nset name=r1.rsc\n"
    for wanted, right in ((body, True), (b"another", False)):
        digest = hashlib.sha256(wanted).hexdigest()
        folder = indexed(
            tmp_path, f"r1,0,2024-01-01T00:00:00Z,r1.rsc,{digest}", head=f"{HEAD},sha256"
        )
        [reading] = readings_of(folder)
        if right:
            assert text_of(reading).encode() == body
        else:
            with pytest.raises(InvalidInput, match="sha256"):
                text_of(reading)


def test_utf16_with_a_mark_is_text_and_other_bytes_are_not(tmp_path: Path) -> None:
    (tmp_path / "r1.rsc").write_bytes("/ip address\n".encode("utf-16"))
    (tmp_path / "r2.rsc").write_bytes(b"/ip address secret\xff\n")
    first, second = sorted(readings_of(tmp_path), key=lambda one: one.device_id)
    assert text_of(first) == "/ip address\n"
    with pytest.raises(InvalidInput, match="not at byte 18") as caught:
        text_of(second)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in repr(error)
        error = error.__cause__ or error.__context__
