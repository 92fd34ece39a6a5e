"""Diffs that tools apply to the byte, counts that are right, and changes by section."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.canonical import canonicalise
from domain.diffing import MAX_BYTES, MAX_LINES, TextDiff, coarse_diff, section_changes, text_diff
from domain.events import SectionChange
from tests.unit.unified import replayed

TOOLS = [tool for tool in ("patch", "git") if shutil.which(tool)]
needs_tools = pytest.mark.skipif(not TOOLS, reason="neither GNU patch nor git is installed")

PAIRS: dict[str, tuple[bytes, bytes]] = {
    "one line": (b"a\nb\nc\n", b"a\nB\nc\n"),
    "from nothing": (b"", b"a\nb\n"),
    "to nothing": (b"a\nb\n", b""),
    "to nothing, without a final newline": (b"a", b""),
    "no final newline before": (b"a\nb", b"a\nb\n"),
    "no final newline after": (b"a\nb\n", b"a\nb"),
    "no final newline on both": (b"a\nb\nc", b"A\nb\nc"),
    "no final newline, all changed": (b"a\nb", b"c\nd"),
    "lines that look like headers": (b"-- a\n++ b\n@@ -1 +1 @@\n", b"++ b\n--- a/x\n+++ b/x\n"),
    "a diff inside": (b"diff --git a b\n@@ -1,2 +1,2 @@\n-x\n", b"@@ -1,2 +1,2 @@\n+x\nindex 1\n"),
    "a line that says no newline": (b"\\ No newline at end of file\na", b"\\ No newline\na\n"),
    "CRLF": (b"a\r\nb\r\nc\r\n", b"a\r\nB\r\nc\r\n"),
    "line endings only": (b"a\r\nb\r\n", b"a\nb\n"),
    "lone CR": (b"a\rb\nc\n", b"a\rB\nc\n"),
    "NEL, LS and FF inside a line": (
        "a\x85b\u2028c\x0cd\nz\n".encode(),
        "a\x85B\u2028c\x0cd\nz\n".encode(),
    ),
    "NUL": (b"a\0b\nc\n", b"a\0B\nc\n"),
    "latin-1": (b"caf\xe9\nb\n", b"caf\xe8\nb\n"),
    "a block moved": (
        b"".join(b"%d\n" % n for n in range(40)),
        b"".join(b"%d\n" % n for n in [*range(20, 40), *range(20)]),
    ),
    "changes far apart": (
        b"".join(b"%d\n" % n for n in range(100)),
        b"".join(b"%d\n" % (n if n % 30 else -n) for n in range(1, 100)),
    ),
    "repeated lines": (b"x\n" * 30 + b"y\n" + b"x\n" * 30, b"x\n" * 61),
    "a long line": (b"a" * 500_000 + b"\nb\n", b"a" * 499_999 + b"\nb\n"),
}
DIFFS: list[Callable[..., TextDiff]] = [text_diff, coarse_diff]


def diff(before: bytes, after: bytes, engine: Callable[..., TextDiff] = text_diff) -> TextDiff:
    return engine(before, after, before_label="edge1.rsc", after_label="edge1.rsc")


def applied(tool: str, folder: Path, before: bytes, patch: bytes) -> bytes:
    target = folder / "edge1.rsc"
    target.write_bytes(before)
    (folder / "change.patch").write_bytes(patch)
    commands = {
        "patch": ["patch", "--binary", "-p1", "-s", "-E", "-i", "change.patch"],
        "git": ["git", "apply", "--whitespace=nowarn", "change.patch"],
    }
    ran = subprocess.run(
        commands[tool],
        cwd=folder,
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_CEILING_DIRECTORIES": str(folder.parent)},
    )
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")
    assert b"offset" not in ran.stdout
    assert b"fuzz" not in ran.stdout
    return target.read_bytes() if target.exists() else b""


@needs_tools
@pytest.mark.parametrize("engine", DIFFS)
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", PAIRS)
def test_applying_the_diff_gives_the_new_text(
    name: str, tool: str, engine: Callable[..., TextDiff], tmp_path: Path
) -> None:
    before, after = PAIRS[name]
    assert applied(tool, tmp_path, before, diff(before, after, engine).patch) == after


_TEXTS = st.lists(
    st.sampled_from(["a", "b", "", "-- a", "++ b", "@@ -1 +1 @@", "c\r", "d\x0ce", "\\ No"]),
    max_size=25,
).flatmap(
    lambda lines: st.sampled_from(["\n".join(lines).encode(), "\n".join([*lines, ""]).encode()])
)


@given(_TEXTS, _TEXTS)
def test_any_diff_replays_to_the_new_text_with_true_counts(before: bytes, after: bytes) -> None:
    for engine in DIFFS:
        made = diff(before, after, engine)
        if before == after:
            assert made == TextDiff(patch=b"", lines_added=0, lines_removed=0)
        else:
            expected = (after, made.lines_added, made.lines_removed)
            assert replayed(before, made.patch) == expected


@needs_tools
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_TEXTS, after=_TEXTS)
def test_tools_take_any_diff(before: bytes, after: bytes, tmp_path: Path) -> None:
    for engine in DIFFS:
        if before != after:
            patch = diff(before, after, engine).patch
            assert applied(TOOLS[0], tmp_path, before, patch) == after


def test_lines_that_begin_with_dashes_and_pluses_are_counted() -> None:
    made = diff(b"-- a\n-- b\nkeep\n", b"keep\n++ c\n")
    assert (made.lines_added, made.lines_removed) == (1, 2)
    assert not made.coarse


def test_neither_hashes_nor_headings_are_in_the_diff() -> None:
    lines = [b"add name=line%d\n" % number for number in range(30)]
    made = diff(b"".join(lines), b"".join([*lines[:25], b"new\n", *lines[25:]]))
    assert made.patch.startswith(b"--- a/edge1.rsc\n+++ b/edge1.rsc\n@@ -23,6 +23,7 @@\n add")
    assert b"index" not in made.patch


@needs_tools
@pytest.mark.parametrize(
    "label",
    ["a b", "../../etc/passwd", ".git/config", "-rf", '"quoted"', "a\nb\tc", "", "/abs", "é\u202e"],
)
def test_a_label_is_always_a_harmless_path(label: str, tmp_path: Path) -> None:
    made = text_diff(b"a\n", b"b\n", before_label=label, after_label=label)
    old, new, *_ = made.patch.decode().split("\n")
    assert old.startswith("--- a/")
    assert new.startswith("+++ b/")
    path = new.removeprefix("+++ b/")
    assert not {"", ".", "..", ".git"} & set(path.split("/"))
    target = tmp_path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"a\n")
    subprocess.run(
        ["patch", "-p1", "-s"] if "patch" in TOOLS else ["git", "apply"],
        cwd=tmp_path,
        input=made.patch,
        check=True,
        capture_output=True,
    )
    assert target.read_bytes() == b"b\n"


def test_over_the_limits_the_diff_is_coarse_and_still_true() -> None:
    lines = [b"%d\n" % number for number in range(MAX_LINES + 1)]
    before = b"".join(lines)
    lines[1000], lines[2000] = b"x\n", b"y\n"
    after = b"".join(lines)
    made = diff(before, after)
    assert made.coarse
    assert (made.lines_added, made.lines_removed) == (1001, 1001)
    assert replayed(before, made.patch) == (after, 1001, 1001)
    assert made.patch.count(b"@@ -") == 1
    assert b"@@ -998,1007 +998,1007 @@\n 997\n" in made.patch


@pytest.mark.parametrize(
    ("before", "after", "hunk"),
    [
        (b"", b"a\nb\n", b"@@ -0,0 +1,2 @@\n+a\n+b\n"),
        (b"a\nb\n", b"", b"@@ -1,2 +0,0 @@\n-a\n-b\n"),
        (b"b\n", b"a\nb\n", b"@@ -1,1 +1,2 @@\n+a\n b\n"),
        (b"b\n", b"b\na\n", b"@@ -1,1 +1,2 @@\n b\n+a\n"),
        (b"xb\n", b"yb\n", b"@@ -1,1 +1,1 @@\n-xb\n+yb\n"),
        (b"a\na\n", b"a\na\na\n", b"@@ -1,2 +1,3 @@\n a\n a\n+a\n"),
    ],
)
def test_a_coarse_diff_replaces_no_more_than_lies_between(
    before: bytes, after: bytes, hunk: bytes
) -> None:
    assert diff(before, after, coarse_diff).patch.split(b"\n", 2)[2] == hunk


def test_over_the_limit_of_bytes_the_diff_is_coarse_on_either_side() -> None:
    long = b"a" * MAX_BYTES + b"\nb\n"
    for before, after in ((long, b"b\n"), (b"b\n", long)):
        made = diff(before, after)
        assert made.coarse
        assert replayed(before, made.patch)[0] == after


def test_at_the_limits_the_diff_is_exact() -> None:
    before = b"x\n" * MAX_LINES
    made = diff(before, b"y\n" + before[2:])
    assert not made.coarse
    assert (made.lines_added, made.lines_removed) == (1, 1)


def changes(before: str, after: str) -> tuple[SectionChange, ...]:
    return section_changes(canonicalise(before, "routeros"), canonicalise(after, "routeros"))


def change(section: str, added: int, removed: int) -> SectionChange:
    return SectionChange(section=section, added=added, removed=removed)


OLD = """\
/interface bridge
add name=b1
add name=b2
/ip address
add address=10.0.0.1/24
/system identity
set name=gw
"""


def test_changes_are_counted_by_section_in_order_of_appearance() -> None:
    new = """\
/interface bridge
add name=b1
/ip firewall filter
add chain=input
add chain=input
/ip address
add address=10.0.0.2/24
/system identity
set name=gw
"""
    assert changes(OLD, new) == (
        change("/interface bridge", 0, 1),
        change("/ip address", 1, 1),
        change("/ip firewall filter", 2, 0),
    )


def test_equal_lines_count_as_often_as_they_stand_there() -> None:
    one, three = "/queue simple\nadd\n", "/queue simple\nadd\nadd\nadd\n"
    assert changes(one, three) == (change("/queue simple", 2, 0),)
    assert changes(three, one) == (change("/queue simple", 0, 2),)


def test_noise_wrapping_order_and_the_terse_form_change_no_section() -> None:
    terse = (
        "# noise\n/system identity set name=\\\r\n    gw\r\n/interface bridge add name=b2\n"
        "/interface bridge add name=b1\n/ip/address add address=10.0.0.1/24"
    )
    assert changes(OLD, terse) == ()


def test_what_an_incomplete_export_lacks_is_neither_removed_nor_later_added() -> None:
    lacking = OLD.replace("/ip address\nadd address=10.0.0.1/24\n", '#error exporting "/ip" (x)\n')
    for before, after in ((OLD, lacking), (lacking, OLD)):
        assert changes(before, after) == ()
    cut = OLD[: OLD.index("add name=b2")] + "add name=b3 \\\n"
    assert changes(OLD, cut) == ()
    assert changes(cut, OLD) == ()


def test_what_an_incomplete_export_does_hold_is_compared() -> None:
    lacking = '#error exporting "/ip firewall calea" (timeout)\n' + OLD.replace("add name=b2\n", "")
    assert changes(OLD, lacking) == (change("/interface bridge", 0, 1),)
    assert changes(OLD, lacking.replace("/ip address\nadd address=10.0.0.1/24\n", "")) == (
        change("/interface bridge", 0, 1),
        change("/ip address", 0, 1),
    )


def test_plain_text_has_one_section_without_a_name() -> None:
    made = section_changes(canonicalise("a\nb\n", "text"), canonicalise("a\nc\nd\n", "text"))
    assert made == (change("", 2, 1),)
