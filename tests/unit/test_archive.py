"""What is written into an archive bit by bit comes out of it as one file."""

from __future__ import annotations

import tarfile
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.tlog.archive import Archive, Spool
from domain.errors import InvalidInput


def files(path: Path) -> dict[str, bytes]:
    with zstandard.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        return {
            one.name: found.read() for one in tar if (found := tar.extractfile(one)) is not None
        }


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=70_000), max_size=20), st.binary(max_size=2_000))
def test_bit_by_bit_or_at_once_a_file_is_what_was_written(pieces: list[bytes], body: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        with Archive(path) as archive, Spool(path.parent) as spool:
            for piece in pieces:
                spool.write(piece)
            archive.add("one", body)
            archive.add_spool("two", spool)
            archive.add("three", body)
        written = {"bundle/one": body, "bundle/two": b"".join(pieces), "bundle/three": body}
        assert files(path) == written
        assert list(path.parent.iterdir()) == [path]


def test_a_large_file_is_never_in_memory(tmp_path: Path) -> None:
    piece = bytes(range(256)) * 4_096
    tracemalloc.start()
    try:
        with Archive(tmp_path / "made") as archive, Spool(tmp_path) as spool:
            for _ in range(100):
                spool.write(piece)
            archive.add_spool("large", spool)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert spool.size == 100 * len(piece)
    assert peak < 10 * len(piece)


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can't be written"), Spool(tmp_path / "nowhere"):
        raise AssertionError
