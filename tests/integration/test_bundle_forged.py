"""Somebody who trusts nobody opens a bundle: nothing that was put into it passes for the truth."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.crypto.signing import SigningKey
from tests.integration.test_bundle import Made, add_text, made

__all__ = ["made"]


def edit_a_proof(one: Made) -> None:
    path = sorted((one.folder / "proofs").iterdir())[3]
    lines = path.read_text().split("\n")
    lines[2] = f"index {int(lines[2].removeprefix('index ')) + 1}"
    path.write_text("\n".join(lines))


def exchange_two_proofs(one: Made) -> None:
    first, second, *_ = sorted((one.folder / "proofs").iterdir())
    raw = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(raw)


def take_proofs_of_another_bundle(one: Made) -> None:
    for path in (one.later / "proofs").iterdir():
        shutil.copy(path, one.folder / "proofs")


def take_events_of_another_bundle(one: Made) -> None:
    shutil.copy(one.later / "events.jsonl", one.folder)


def take_all_but_the_checkpoint_of_another_bundle(one: Made) -> None:
    kept = (one.folder / "checkpoint").read_bytes()
    shutil.rmtree(one.folder)
    shutil.copytree(one.later, one.folder)
    (one.folder / "checkpoint").write_bytes(kept)


def take_the_checkpoint_of_another_bundle(one: Made) -> None:
    shutil.copy(one.later / "checkpoint", one.folder)


def name_another_tenant(one: Made) -> None:
    one.say(tenant="globex")


def name_the_stream_as_the_tenant(one: Made) -> None:
    """With a log for which the reader has a key, too."""
    about = json.loads((one.folder / "bundle.json").read_text())
    one.say(log=about["stream_log"])
    shutil.copy(one.folder / "stream-checkpoint", one.folder / "checkpoint")


def link_to_a_file_outside(one: Made) -> None:
    add_text(one)
    (path,) = (one.folder / "content").glob("*.txt")
    path.unlink()
    path.symlink_to("/etc/passwd")


def link_a_folder_outside(one: Made) -> None:
    shutil.rmtree(one.folder / "checkpoints")
    (one.folder / "checkpoints").symlink_to("/etc")


def put_a_pipe(one: Made) -> None:
    (one.folder / "keys").unlink()
    os.mkfifo(one.folder / "keys")


def blow_up(name: str) -> Callable[[Made], None]:
    """As an archive of a few bytes can: a file without an end."""

    def tamper(one: Made) -> None:
        os.truncate(one.folder / name, 1 << 40)

    return tamper


def nest_without_end(one: Made) -> None:
    (one.folder / "bundle.json").write_text("[" * 500_000)


def count_beyond_measure(one: Made) -> None:
    lines = one.lines()
    lines[-1]["position"] = 10**30
    one.put_lines(lines)


def count_in_infinities(one: Made) -> None:
    path = one.folder / "events.jsonl"
    path.write_text(path.read_text().replace('"stored_ns": 1', '"stored_ns": 1e999, "x": 1', 1))


def begin_far_beyond(one: Made) -> None:
    one.say(index=2**70)


def begin_before_the_first(one: Made) -> None:
    one.say(index=-5)


def say_a_position_twice(one: Made) -> None:
    path = one.folder / "events.jsonl"
    path.write_text(path.read_text().replace('{"position"', '{"position": 1, "position"', 1))


def name_a_text_in_other_digits(one: Made) -> None:
    add_text(one)
    (path,) = (one.folder / "content").glob("*.txt")
    path.rename(path.with_name("\u0663.txt"))


def add_an_older_text(one: Made) -> None:
    (one.folder / "content").mkdir()
    (one.folder / "content" / "007.txt").write_text("/ip address\n")


def sign_without_end(one: Made) -> None:
    path = one.folder / "checkpoint"
    text = path.read_text()
    path.write_text(text + text.splitlines(keepends=True)[-1] * 5_000)


def write_to_the_terminal(one: Made) -> None:
    lines = one.lines()
    lines[0].update(position="\x1b[2J1\nVERIFIED\n", subject="a.b")
    one.put_lines(lines)


FORGERIES = (
    (edit_a_proof, "does not hold"),
    (exchange_two_proofs, "is of another event"),
    (take_proofs_of_another_bundle, "is of another event"),
    (take_events_of_another_bundle, "there are more events than in the tenant's"),
    (take_all_but_the_checkpoint_of_another_bundle, "there are more events than in the tenant's"),
    (take_the_checkpoint_of_another_bundle, "the proof has a wrong length"),
    (name_another_tenant, "the log is not the tenant's"),
    (name_the_stream_as_the_tenant, "the log is not the tenant's"),
    (link_to_a_file_outside, "is not a plain file"),
    (link_a_folder_outside, "checkpoints is not a plain folder"),
    (put_a_pipe, "keys is not a plain file"),
    (blow_up("bundle.json"), "bundle.json has more than the 1048576 bytes that it may have"),
    (blow_up("events.jsonl"), "a line of events.jsonl is broken"),
    (blow_up("stream-leaves.bin"), "stream-leaves.bin has more than"),
    (nest_without_end, "beyond all measure (RecursionError)"),
    (count_beyond_measure, "malformed (error)"),
    (count_in_infinities, "malformed (error)"),
    (begin_far_beyond, "the stretch goes beyond the checkpoint"),
    (begin_before_the_first, "the proof has a wrong length"),
    (say_a_position_twice, "a name is twice in one object of JSON"),
    (name_a_text_in_other_digits, r"content/\u0663.txt is not of a bundle"),
    (add_an_older_text, "content/007.txt is not of a bundle"),
    (sign_without_end, "a note has too many signatures"),
    (write_to_the_terminal, r"event \x1b[2J1\nVERIFIED\n is of another tenant"),
)


def test_what_was_put_into_a_bundle_is_refused_by_its_name(made: Made, tmp_path: Path) -> None:
    for number, (forge, words) in enumerate(FORGERIES):
        other = made.copy(tmp_path / str(number))
        forge(other)
        status, said = other.check()
        assert (status, "VERIFIED" in said.splitlines()) == (1, False), (words, said)
        verdict = said.splitlines()[-1]
        assert verdict.startswith("FAILED: "), (words, said)
        assert words in verdict, (words, verdict)


def test_what_is_not_checked_is_said(made: Made) -> None:
    (made.folder / "ev\u0435nts.jsonl").write_text("{}")
    (made.folder / "keys").write_text(str(SigningKey(bytes(32)).verifier(made.keys[0].name)))
    status, said = made.check()
    assert status == 0
    assert f"WARNING: the bundle names another key for {made.keys[0].name}" in said
    assert r"WARNING: ev\u0435nts.jsonl is not of the bundle, and is not checked" in said


def test_a_bundle_of_less_than_was_asked_for_is_refused(made: Made) -> None:
    for option, value, words in (
        ("--tenant", "globex", "the bundle is of another tenant"),
        ("--from", "2026-01-01", "the bundle begins at "),
        ("--to", "2999-12-31T00:00:00Z", "the bundle ends at "),
        ("--to", "soon", "soon is no date or time"),
        ("--to", "2026-01-01T00:00:00", "has no zone"),
    ):
        status, said = made.check(option, value)
        assert (status, said.count("\n")) == (1, 1), said
        assert words in said
    assert made.check("--tenant", "acme", "--from", "2999-01-01")[0] == 0


@pytest.mark.parametrize("forge", [False, True])
def test_a_checkpoint_that_was_kept_shows_a_tail_that_was_cut_off(
    made: Made, tmp_path: Path, forge: bool
) -> None:
    now, then = made.later / "checkpoint", made.folder / "checkpoint"
    later = Made(made.later, made.keys, made.later)
    if not forge:
        status, said = later.check("--checkpoint", str(then), "--checkpoint", str(now))
        assert (status, said.count("the log only grew since")) == (0, 2), said
        # One of an older key is kept by its reader alone; what lacks is the proof.
        for note in (made.later / "checkpoints").glob("*.note"):
            note.unlink()
        assert later.check("--checkpoint", str(then))[0] == 0
        status, said = made.check("--checkpoint", str(now))
        assert status == 1
        assert "FAILED: truncated: the log had" in said
        return
    text = then.read_text().split("\n")
    other = tmp_path / "other"
    other.write_text("\n".join([*text[:2], "A" * 43 + "=", *text[3:]]))
    assert "FAILED: forked: " in later.check("--checkpoint", str(other))[1]
    other.write_text("\n".join([text[0], "3", *text[2:]]))
    assert "name it at the export" in later.check("--checkpoint", str(other))[1]
    assert "FAILED: a note has no signatures" in later.check("--checkpoint", "/dev/null")[1]
    assert "can't be read" in later.check("--checkpoint", str(tmp_path / "nothing"))[1]
