"""Go's checksum database code, which none of us wrote, judges our notes and proofs; and we its own.

Needs Go and golang.org/x/mod as Debian packages them (golang-go, golang-golang-x-mod-dev). Without
them this is skipped, but not where CONFIGTRAIL_REQUIRE_GO is set, as in continuous integration.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from adapters.crypto.signing import SigningKey, check_ed25519
from adapters.embedded.nats import EmbeddedNats
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.retention.deciding import Keeper
from adapters.roles.devices import DeviceRepository
from adapters.tlog.handing import hand_over
from adapters.tlog.proofs import Prover
from domain.events import RetentionPolicy
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.leaf import leaf_data
from domain.tlog.merkle import consistency_holds, inclusion_holds, leaf_hash
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.note import VerifierKey, parse_note, verified
from tests.logs import BASE, KEY, Story, names, raw_events, seal, stored_notes
from tests.rig import rig

GOPATH = Path("/usr/share/gocode")
SOURCE = Path(__file__).resolve().parents[1] / "go" / "tlogcheck"


@pytest.fixture(scope="module")
def tlogcheck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built from its source and the distribution's packages alone."""
    there = shutil.which("go") and (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir()
    if not there:
        if os.environ.get("CONFIGTRAIL_REQUIRE_GO"):
            pytest.fail("the independent verifier is required, and Go is not there")
        pytest.skip("no Go: apt-get install golang-go golang-golang-x-mod-dev")
    made = tmp_path_factory.mktemp("go") / "tlogcheck"
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOFLAGS": "",
        "GOCACHE": str(made.parent / "cache"),
    }
    subprocess.run(["go", "build", "-o", str(made), "."], cwd=SOURCE, env=environment, check=True)
    return made


def judged(program: Path, checks: list[dict[str, Any]]) -> list[str]:
    """What it says of each."""
    done = subprocess.run(
        [str(program), "check"],
        input=json.dumps(checks),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


async def test_go_accepts_all_that_we_sign_and_prove_and_nothing_that_was_altered(
    tlogcheck: Path, nats_server: EmbeddedNats, postgres_dsn: str
) -> None:
    checks: list[dict[str, Any]] = []
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=9)
        for count in (1, 1, 5, 300, 70):
            await story.tell(count)
            await seal(one, pool)
        for stored in await stored_notes(one):
            vkey = str(KEY.verifier(stored.origin))
            checks.append({"kind": "note", "vkey": vkey, "note": stored.raw.decode()})
        prover = Prover(TileStore(pool), one.checkpoints, await names(one))
        events = await raw_events(one)
        for log in (STREAM_LOG, tenant_log("acme")):
            own = [event for event in events if log == STREAM_LOG or ".acme." in event.subject]
            sealed = await prover.sealed(log)
            size, root = sealed.checkpoint.size, encoded(sealed.checkpoint.root)
            common = {"size": size, "root": root}
            data = [leaf_data(one.raw.stream, event) for event in own[:size]]
            leaves = [encoded(leaf_hash(leaf)) for leaf in data]
            checks.append({"kind": "root", "leaves": leaves, **common})
            for index in range(0, size, 7):
                proof = await prover.inclusion(log, own[index].position, sealed)
                checks.append(
                    {
                        "kind": "inclusion",
                        "leaf": encoded(data[index]),
                        "index": index,
                        "proof": [encoded(hashed) for hashed in proof.hashes],
                        **common,
                    }
                )
                grown = await prover.consistency(log, index + 1, sealed)
                checks.append(
                    {
                        "kind": "consistency",
                        "oldSize": index + 1,
                        "oldRoot": encoded(grown.old_root),
                        "proof": [encoded(hashed) for hashed in grown.hashes],
                        **common,
                    }
                )
    assert len(checks) > 100
    assert set(judged(tlogcheck, checks)) == {"ok"}
    altered = [dict(check) for check in checks]
    for check in altered:
        if check["kind"] == "note":
            check["note"] = check["note"].replace("\n", "\n1", 1)
        else:
            check["root"] = encoded(bytes(32))
    assert "ok" not in judged(tlogcheck, altered)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100, 257])
def test_we_accept_all_that_go_signs_and_proves_and_nothing_that_was_altered(
    tlogcheck: Path, size: int
) -> None:
    done = subprocess.run(
        [str(tlogcheck), "build", str(size)], capture_output=True, text=True, check=True
    )
    made = json.loads(done.stdout)
    note = parse_note(made["note"].encode())
    key = VerifierKey.parse(made["vkey"])
    assert verified(note, [key], check_ed25519) == (key,)
    assert str(note) == made["note"]
    checkpoint = parse_checkpoint(note.text)
    assert checkpoint.size == size
    other = bytes(32)
    for check in made["checks"]:
        proof = [base64.b64decode(one) for one in check["Proof"] or []]
        if check["Kind"] == "inclusion":
            leaf = leaf_hash(base64.b64decode(check["Leaf"]))
            index = check["Index"]
            assert inclusion_holds(leaf, index, size, proof, checkpoint.root)
            assert not inclusion_holds(other, index, size, proof, checkpoint.root)
        else:
            old, root = check["OldSize"], base64.b64decode(check["OldRoot"])
            assert consistency_holds(old, root, size, checkpoint.root, proof)
            assert not consistency_holds(old, other, size, checkpoint.root, proof)


async def test_go_follows_the_log_over_a_rotation_of_its_key(
    tlogcheck: Path, nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    """The seam verifies with either key, what follows with the new one, and the log only grew."""
    path = tmp_path / "log.key"
    old = SigningKey.generate_file(path)
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=11)
        await story.tell(40)
        await seal(one, pool, old)
        await hand_over(one.checkpoints, BASE, path)
        new = SigningKey.from_file(path)
        prover = Prover(TileStore(pool), one.checkpoints, await names(one))
        before = {log: await prover.sealed(log) for log in (STREAM_LOG, tenant_log("acme"))}
        # What goes by a policy or on somebody's word is told by events of its own.
        devices = DeviceRepository(one.events)
        keeper = Keeper(devices)
        await keeper.set_policy("acme", RetentionPolicy(last=1), actor="user:ann", reason="agreed")
        await story.tell(40)
        await seal(one, pool, new)
        checks: list[dict[str, Any]] = []
        for log, seam in before.items():
            now = await prover.sealed(log)
            origin = now.checkpoint.origin
            for key, note in ((old, seam.note), (new, seam.note), (new, now.note)):
                vkey = str(key.verifier(origin))
                checks.append({"kind": "note", "vkey": vkey, "note": str(note)})
            grown = await prover.consistency(log, seam.checkpoint.size, now)
            checks.append(
                {
                    "kind": "consistency",
                    "size": now.checkpoint.size,
                    "root": encoded(now.checkpoint.root),
                    "oldSize": seam.checkpoint.size,
                    "oldRoot": encoded(seam.checkpoint.root),
                    "proof": [encoded(hashed) for hashed in grown.hashes],
                }
            )
            stale = {"kind": "note", "vkey": str(old.verifier(origin)), "note": str(now.note)}
            assert "ok" not in judged(tlogcheck, [stale])
    assert set(judged(tlogcheck, checks)) == {"ok"}
