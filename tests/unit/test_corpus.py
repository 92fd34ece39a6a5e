"""Canonical forms and diffs over real exports, when a corpus of them is there.

The corpus is a folder laid out `device/NNN.rsc` with an `index.csv`; `CONFIGTRAIL_CORPUS` says
where, and else it is looked for beside the repository.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import re
from pathlib import Path

import pytest
from msgspec import Struct

from domain.canonical import Canonical, canonicalise, detect_platform
from domain.canonical.extent import with_cuts
from domain.diffing import coarse_diff, section_changes, text_diff
from domain.intake import check_text
from tests.unit.unified import replayed

_HERE = Path(__file__).resolve().parents[2]
_BY_LINE = re.compile(r"^# (?:\S+ \S+ )?by RouterOS (\S+)\r?$", re.MULTILINE)


class Export(Struct, frozen=True):
    device: str
    version: int
    name: str
    raw: bytes
    sha256: str

    @property
    def text(self) -> str:
        return self.raw.decode()

    @property
    def form(self) -> Canonical:
        return canonicalise(self.text, "routeros")


def _folder() -> Path | None:
    root = Path(os.environ.get("CONFIGTRAIL_CORPUS") or _HERE.parent / "shared" / "corpus")
    for folder in (root, root / "routeros"):
        if (folder / "index.csv").is_file():
            return folder
    return None


@pytest.fixture(scope="module")
def corpus() -> list[Export]:
    folder = _folder()
    if folder is None:
        pytest.skip("no corpus of real exports: set CONFIGTRAIL_CORPUS to a folder with index.csv")
    with (folder / "index.csv").open(newline="") as index:
        exports = [
            Export(
                row["device"],
                int(row["version"]),
                row["file"],
                (folder / row["file"]).read_bytes(),
                row["sha256"],
            )
            for row in csv.DictReader(index)
        ]
    assert exports, "the corpus is empty"
    return exports


def test_every_export_passes_the_intake(corpus: list[Export]) -> None:
    for export in corpus:
        assert check_text(export.text, export.sha256) == export.raw, export.name
        assert hashlib.sha256(export.raw).hexdigest() == export.sha256


def test_exports_are_known_by_their_header_and_tell_their_version(corpus: list[Export]) -> None:
    for export in corpus:
        header = _BY_LINE.search(export.text)
        if header:
            assert detect_platform(export.text) == "routeros", export.name
            assert export.form.os_version == header[1], export.name


def test_no_noise_is_left_and_every_wrapped_line_is_joined(corpus: list[Export]) -> None:
    for export in corpus:
        form = export.form
        if form.cut or re.search(r"^\[\w+@.*>", form.text, re.MULTILINE):
            continue  # a page of terminal output around an export
        for line in form.logical:
            if re.search(r"=\\$", line):
                continue  # edited by hand: the next line is not indented by four
            assert re.match(r"/|add\b|set\b|remove\b|\[erased ", line) or "xxx" in line, export.name


def test_noise_changes_no_form(corpus: list[Export]) -> None:
    for export in corpus:
        if export.form.cut:
            continue
        unix = export.text.replace("\r\n", "\n")
        later = _BY_LINE.sub("# 2031-01-02 03:04:05 by RouterOS 7.99", unix)
        for variant in (
            unix,
            unix.replace("\n", "\r\n"),
            "\ufeff" + later,
            "# kept by git\n\n" + unix + "\n# end\n",
        ):
            assert canonicalise(variant, "routeros").text == export.form.text, export.name


def test_wrapped_as_on_another_width_the_form_is_the_same(corpus: list[Export]) -> None:
    for export in corpus:
        form = export.form
        rewrapped = "\n".join(_wrapped(line, 60) for line in form.logical)
        if not form.cut and not re.search(r"\\$", form.text, re.MULTILINE):
            assert canonicalise(rewrapped, "routeros").text == form.text, export.name


def _wrapped(line: str, width: int) -> str:
    units = re.findall(r"\\.|.", line, re.DOTALL)
    pieces = [units[at : at + width] for at in range(0, len(units), width)]
    return "\\\n    ".join("".join(piece) for piece in pieces)


def test_partial_exports_are_flagged(corpus: list[Export]) -> None:
    for export in corpus:
        menus = re.findall(r"^#error exporting (/[a-z ]+?)\r?$", export.text, re.MULTILINE)
        assert export.form.unread == tuple(menus), export.name
        assert (export.form.completeness == "partial") == (bool(menus) or export.form.cut)


def test_diffs_of_all_pairs_are_true_to_the_byte(corpus: list[Export]) -> None:
    for before, after in itertools.permutations(corpus, 2):
        exact = text_diff(before.raw, after.raw, before_label=before.name, after_label=after.name)
        coarse = coarse_diff(
            before.raw, after.raw, before_label=before.name, after_label=after.name
        )
        for made in (exact, coarse):
            assert replayed(before.raw, made.patch) == (
                after.raw,
                made.lines_added,
                made.lines_removed,
            ), (before.name, after.name)
        assert exact.lines_added <= coarse.lines_added


def test_sections_account_for_every_line(corpus: list[Export]) -> None:
    complete = [export.form for export in corpus if export.form.completeness == "complete"]
    for before, after in itertools.permutations(complete, 2):
        if any(form.cut for form in with_cuts(before, after)):
            continue
        changes = section_changes(before, after)
        growth = sum(1 for _ in after.lines) - sum(1 for _ in before.lines)
        assert sum(change.added - change.removed for change in changes) == growth
        assert all(re.fullmatch(r"(/[a-z0-9 -]+)?", change.section) for change in changes)


def test_consecutive_versions_change_where_they_were_edited(corpus: list[Export]) -> None:
    forms = {export.name: export.form for export in corpus}
    names = ("branch10-c700/000.rsc", "branch10-c700/001.rsc")
    if not forms.keys() >= set(names):
        pytest.skip("this corpus does not hold the two versions that this test knows")
    changes = section_changes(forms[names[0]], forms[names[1]])
    assert [(one.section, one.added, one.removed) for one in changes] == [
        ("/routing ospf interface-template", 1, 1),
        ("/ip ipsec peer", 1, 0),
        ("/ip ipsec identity", 1, 0),
        ("/ip ipsec policy", 1, 0),
    ]
