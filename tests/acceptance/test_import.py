"""Importing a folder, as a command with servers of its own."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.program import CONFIGTRAIL
from tests.acceptance.scenario import START, export
from tests.support import children_in

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "routeros"


def configtrail(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return subprocess.run(
        [CONFIGTRAIL, *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def imported(folder: Path, *words: str, status: int = 0) -> dict[str, Any]:
    done = configtrail(folder, "import", *words, "--json")
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def counts(found: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """Created, duplicates, refused, known before, diffs."""
    return (
        found["created"],
        found["duplicates"],
        len(found["refused"]),
        found["known"],
        found["diffs"],
    )


def test_a_folder_with_an_index(tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.mkdir()
    lines = ["device,version,commit_time,file"]
    for version, revision in enumerate((1, 1, 2, 1)):
        moment = START.replace(day=1 + version)
        (history / f"{version}.rsc").write_text(export("r1", revision, moment))
        lines.append(f"r1,{version},{moment.isoformat()},{version}.rsc")
    (history / "blank.rsc").write_text("  \n")
    lines.append(f"r1,4,{START.replace(day=9).isoformat()},blank.rsc")
    (history / "binary.rsc").write_bytes(b"\xff\xfe\x00")
    lines.append(f"r1,5,{START.replace(day=10).isoformat()},binary.rsc")
    (history / "index.csv").write_text("\n".join(lines))

    first = imported(tmp_path, "history", "--tenant", "acme", status=1)
    assert counts(first) == (3, 1, 2, 0, 2)
    assert first["diffs_failed"] == 0
    unsent, blank = first["refused"]
    assert (unsent["field"], unsent["dead_letter"]) == ("file", None)
    assert (blank["field"], blank["dead_letter"]) == ("config_text", 1)
    assert blank["where"].startswith("blank.rsc (index.csv line 6")

    again = imported(tmp_path, "history", "--tenant", "acme", status=1)
    assert counts(again) == (0, 0, 2, 4, 0), "importing again adds nothing but the refusal"

    listed = configtrail(tmp_path, "history", "r1", "--tenant", "acme", "--json")
    assert len(json.loads(listed.stdout)) == 3, "the read models were brought up to date"
    assert not children_in(tmp_path), "no server is left behind"


def test_an_index_with_a_fault_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "index.csv").write_text(
        "device,version,commit_time,file\nr1,0,never,a.rsc\n"
    )
    done = configtrail(tmp_path, "import", "history")
    assert done.returncode == 1
    assert "index.csv line 2: commit_time: must be a date and time with a zone" in done.stderr
    assert not (tmp_path / ".configtrail").exists(), "and starts nothing"


def test_the_corpus_ends_in_a_table(tmp_path: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"no real exports at {CORPUS}")
    done = configtrail(tmp_path, "import", str(CORPUS), "--tenant", "demo")
    assert done.returncode == 0, done.stderr
    head, row = done.stdout.strip().splitlines()
    assert head.split() == [
        "READINGS",
        "CREATED",
        "DUPLICATES",
        "REFUSED",
        "KNOWN",
        "BEFORE",
        "DIFFS",
    ]
    readings, created, duplicates, refused, known, diffs = map(int, row.split())
    assert readings == created + duplicates == 41
    assert (refused, known) == (0, 0)
    assert diffs == created - 31, "each device's first has none"


def test_other_platforms_are_named_at_the_import(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / "sw1.cfg").write_text("hostname sw1\nenable secret 5 geheim-77\nend\n")
    wrong = configtrail(tmp_path, "import", "exports", "--platform", "cisco")
    assert (wrong.returncode, "must be one of routeros, ios" in wrong.stderr) == (2, True)
    cut = "/ip pool\nadd name=a ranges=10.0.0.1\n#error exporting /ip ssh\n/ip dns\nset servers="
    (exports / "r2.rsc").write_text(cut)
    assert counts(imported(tmp_path, "exports")) == (2, 0, 0, 0, 0)
    partial = configtrail(tmp_path, "history", "r2").stdout
    assert "error exporting /ip ssh (and 1 more)" in " ".join(partial.split())
    hidden = configtrail(tmp_path, "show", "sw1")
    assert (hidden.returncode, "--reveal" in hidden.stderr) == (1, True)
    (exports / "r2.rsc").unlink()
    (exports / "sw1.cfg").write_text("hostname sw1\nenable secret 5 geheim-77\n!\nend\n")
    row = f"sw1,0,{datetime.now(UTC).isoformat()},sw1.cfg,ios"
    (exports / "index.csv").write_text(f"device,version,commit_time,file,platform\n{row}\n")
    assert counts(imported(tmp_path, "exports")) == (1, 0, 0, 0, 1)
    shown = configtrail(tmp_path, "show", "sw1")
    assert shown.returncode == 0, shown.stderr
    assert "enable secret 5 <secret:" in shown.stdout
    history = configtrail(tmp_path, "history", "sw1", "--section", "/ip/address")
    assert (history.stdout, "no change of sw1" in history.stderr) == ("", True)
