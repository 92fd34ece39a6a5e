"""A bundle verifies with Python alone, without anything of ours; an altered one does not."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio
import zstandard

from adapters.crypto.signing import SigningKey
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.raw import moment_of
from adapters.postgres.pool import open_pool
from adapters.tlog.bundle import export
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.note import VerifierKey, parse_note
from tests.bundling import TENANT, exporting, trusted
from tests.logs import BASE, KEY, Story, names, raw_events, seal
from tests.rig import rig


class Made:
    """An exported bundle, unpacked, and the keys that its reader trusts."""

    def __init__(self, folder: Path, keys: tuple[VerifierKey, ...], later: Path) -> None:
        self.folder = folder
        self.keys = keys
        # The tenant's whole log at a later size, with a proof from this one's checkpoint on.
        self.later = later

    def check(self, *more: str, keys: bool = True) -> tuple[int, str]:
        """What the verifier says, run as an auditor would: isolated, and without our packages."""
        given = [part for key in self.keys for part in ("--key", str(key))] if keys else []
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(self.folder / "verify.py"), *given, *more],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]},
            check=False,
        )
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    def copy(self, to: Path) -> Made:
        shutil.copytree(self.folder, to)
        return Made(to, self.keys, self.later)

    def lines(self) -> list[dict[str, Any]]:
        text = (self.folder / "events.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def say(self, **other: object) -> None:
        """Change what the bundle tells about itself."""
        about = json.loads((self.folder / "bundle.json").read_text())
        (self.folder / "bundle.json").write_text(json.dumps({**about, **other}))

    def put_lines(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(one) + "\n" for one in lines)
        (self.folder / "events.jsonl").write_text(text)


@pytest_asyncio.fixture
async def made(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Made]:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=3)
        for count in (30, 100, 50):
            await story.tell(count)
            await seal(one, pool)
        await story.tell(10)
        known = await names(one)
        own = [event for event in await raw_events(one) if f".{TENANT}." in event.subject]
        since, until = moment_of(own[20].stored_ns), moment_of(own[60].stored_ns)
        system = exporting(one, pool)
        keys = trusted(known)
        path = tmp_path / "bundle.tar.zst"
        told: list[tuple[str, str, str | None]] = []

        async def shown(*one: Any) -> None:
            told.append(one)

        done = await export(
            system,
            path,
            tenant_id=TENANT,
            keys=keys,
            since=since,
            until=until,
            shown=shown,
        )
        assert done.events == 41
        assert len(told) == len(set(told)) == done.contents
        unpack(path, tmp_path)
        kept = (tmp_path / "bundle" / "checkpoint").read_bytes()
        await seal(one, pool)
        later = tmp_path / "later"
        await export(
            system,
            later.with_suffix(".tar.zst"),
            tenant_id=TENANT,
            keys=keys,
            since=None,
            until=None,
            shown=None,
            kept=[kept],
        )
        unpack(later.with_suffix(".tar.zst"), later)
        yield Made(tmp_path / "bundle", keys, later / "bundle")


def test_it_verifies_and_says_when_its_own_keys_were_used(made: Made) -> None:
    status, said = made.check()
    assert (status, said.splitlines()[-1]) == (0, "VERIFIED")
    assert "WARNING" not in said
    kinds = Counter(one["subject"].rpartition(".")[2] for one in made.lines())
    told_of = kinds["SnapshotCreated"] + kinds["DiffGenerated"]
    assert f"\n{told_of} of the {told_of} texts that events tell of are not in it\n" in said
    status, said = made.check(keys=False)
    assert status == 0
    assert said.startswith("WARNING: no --key given")
    assert "VERIFIED" not in said
    assert (made.folder / "README.txt").read_text().startswith("Configtrail audit bundle")


def unpack(path: Path, to: Path) -> None:
    """As `tar --zstd -xf` does."""
    with (
        path.open("rb") as packed,
        zstandard.ZstdDecompressor().stream_reader(packed) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        archive.extractall(to, filter="data")


def alter_body(made: Made) -> None:
    lines = made.lines()
    body = base64.b64decode(lines[7]["body"]).replace(b"system:", b"system;")
    body = body.replace(b"user:", b"user;").replace(b"service:", b"service;")
    lines[7]["body"] = base64.b64encode(body).decode()
    made.put_lines(lines)


def alter_time(made: Made) -> None:
    lines = made.lines()
    lines[7]["stored_ns"] += 1
    made.put_lines(lines)


def remove(made: Made) -> None:
    lines = made.lines()
    made.put_lines(lines[:7] + lines[8:])


def remove_first(made: Made) -> None:
    made.put_lines(made.lines()[1:])


def remove_last(made: Made) -> None:
    made.put_lines(made.lines()[:-1])


def remove_last_and_say_so(made: Made) -> None:
    """The stretch is said to be shorter: then the event after it is not shown."""
    made.put_lines(made.lines()[:-1])
    made.say(leaf_after=None, events=40)


def repeat(made: Made) -> None:
    lines = made.lines()
    made.put_lines([*lines[:7], lines[7], *lines[7:]])


def swap(made: Made) -> None:
    lines = made.lines()
    lines[7], lines[8] = lines[8], lines[7]
    made.put_lines(lines)


def move_to_another_tenant(made: Made) -> None:
    lines = made.lines()
    lines[7]["subject"] = lines[7]["subject"].replace(".acme.", ".globex.")
    made.put_lines(lines)


def widen_the_window(made: Made) -> None:
    """As if nothing had happened before: the event before the stretch shows otherwise."""
    made.say(from_ns=0)


def other_root(made: Made) -> None:
    _rewrite(
        made, lambda text: text.replace(text.split("\n")[2], base64.b64encode(bytes(32)).decode())
    )


def other_size(made: Made) -> None:
    _rewrite(made, lambda text: text.replace("\n" + text.split("\n")[1], "\n1000", 1))


def _rewrite(made: Made, change: Callable[[str], str]) -> None:
    path = made.folder / "checkpoint"
    path.write_text(change(path.read_text()))


def sign_with_another_key(made: Made) -> None:
    path = made.folder / "checkpoint"
    checkpoint = parse_checkpoint(parse_note(path.read_bytes()).text)
    path.write_text(str(SigningKey(bytes(32)).note(checkpoint)))


def exchange_checkpoints(made: Made) -> None:
    path = made.folder / "checkpoint"
    shutil.copy(made.folder / "stream-checkpoint", path)


def alter_stream_leaves(made: Made) -> None:
    path = made.folder / "stream-leaves.bin"
    raw = path.read_bytes()
    path.write_bytes(raw[:40] + bytes((raw[40] ^ 1,)) + raw[41:])


def alter_older_checkpoint(made: Made) -> None:
    path = sorted((made.folder / "checkpoints").glob("*.note"))[0]
    checkpoint = parse_checkpoint(parse_note(path.read_bytes()).text)
    forged = type(checkpoint)(checkpoint.origin, checkpoint.size, bytes(32))
    path.write_text(str(KEY.note(forged)))


def add_text(made: Made) -> None:
    (made.folder / "content").mkdir(exist_ok=True)
    position = next(
        one["position"] for one in made.lines() if one["subject"].endswith("SnapshotCreated")
    )
    (made.folder / "content" / f"{position}.txt").write_text("/ip address\n")
    (made.folder / "content" / f"{position}.salt").write_text(secrets.token_hex(32))


def empty_a_file(made: Made) -> None:
    (made.folder / "bundle.json").write_text("{}")


NOT_HELD = "the events are not what the tenant's log holds"
TAMPERINGS = (
    (alter_body, NOT_HELD),
    (alter_time, NOT_HELD),
    (remove, "there are 40 events, not 41"),
    (remove_first, "there are 40 events, not 41"),
    (remove_last, "there are 40 events, not 41"),
    (remove_last_and_say_so, "the event after is not shown"),
    (repeat, "is out of order"),
    (swap, "is out of order"),
    (move_to_another_tenant, "is of another tenant"),
    (widen_the_window, "the event before the stretch belongs into it"),
    (other_root, f"the signature of {BASE}/tenant/acme is wrong"),
    (other_size, f"the signature of {BASE}/tenant/acme is wrong"),
    (sign_with_another_key, "checkpoint is not signed by its log"),
    (exchange_checkpoints, "checkpoint is not signed by its log"),
    (alter_stream_leaves, "the stream's leaves are not what its log holds"),
    (alter_older_checkpoint, "is of another history"),
    (add_text, "is not the text that was recorded"),
    (empty_a_file, "the bundle is malformed (KeyError)"),
)


def test_an_altered_bundle_does_not_verify(made: Made, tmp_path: Path) -> None:
    for tamper, words in TAMPERINGS:
        other = made.copy(tmp_path / tamper.__name__)
        tamper(other)
        status, said = other.check()
        assert status == 1, tamper.__name__
        verdict = said.splitlines()[-1]
        assert verdict.startswith("FAILED: "), (tamper.__name__, said)
        assert words in verdict, (tamper.__name__, verdict)


def test_a_bundle_of_another_log_is_not_taken_for_this_one(made: Made) -> None:
    foreign = SigningKey(bytes(32)).verifier(made.keys[0].name)
    stranger = Made(made.folder, (foreign, made.keys[1]), made.later)
    status, said = stranger.check()
    assert status == 1
    assert "not signed by its log" in said
    status, said = made.check("--max-age", "60")
    assert status == 1
    assert "--max-age needs --witness" in said
