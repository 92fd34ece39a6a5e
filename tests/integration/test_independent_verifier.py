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

from adapters.crypto.signing import check_ed25519
from adapters.embedded.nats import EmbeddedNats
from adapters.postgres.pool import open_pool
from adapters.postgres.tiles import TileStore
from adapters.tlog.proofs import Prover
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.leaf import leaf_data
from domain.tlog.merkle import consistency_holds, inclusion_holds, leaf_hash
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.note import VerifierKey, parse_note, verified
from tests.logs import KEY, Story, names, raw_events, seal, stored_notes
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
