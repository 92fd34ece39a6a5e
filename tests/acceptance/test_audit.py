"""The audit trail as its users have it: a service, a witness elsewhere, and an auditor offline."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import nats
import pytest_asyncio

from adapters.crypto.signing import SigningKey
from adapters.embedded.process import free_port
from adapters.jetstream.content_store import CONTENT
from adapters.settings import Settings
from domain.tlog.note import COSIGNATURE, VerifierKey
from tests.acceptance.program import CONFIGTRAIL, Program
from tests.acceptance.scenario import START, export
from tests.integration.test_bundle import unpack
from tests.support import eventually

KEY = "EHk0kAIC3m4SpXb0fHCq0o9lDkZlNm9Q6JQ5n0yqQ1s="
NAME = "witness.example/w1"
# A second witness that nobody runs.
AWAY = SigningKey(bytes(31) + b"2").verifier("witness.example/w2", COSIGNATURE)


class Service:
    """A running service with a witness, and its command line."""

    def __init__(self, folder: Path, program: Program, witness: str) -> None:
        self.folder = folder
        self.program = program
        self.witness = witness

    async def run(self, *arguments: str, status: int = 0, stdin: str = "") -> str:
        """What a command prints on stdout."""
        return (await self.told(*arguments, status=status, stdin=stdin))[0]

    async def told(self, *arguments: str, status: int = 0, stdin: str = "") -> tuple[str, str]:
        """What a command prints on stdout and on stderr."""
        process = await asyncio.create_subprocess_exec(
            str(CONFIGTRAIL),
            "--tenant",
            "acme",
            *arguments,
            cwd=self.folder,
            env=self.program.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode == status, (arguments, out.decode(), err.decode())
        return out.decode(), err.decode()

    async def report(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """What `audit verify` found."""
        found: dict[str, Any] = json.loads(
            await self.run("audit", "verify", "--json", *arguments, status=status)
        )
        return found

    async def get(self, path: str, encoding: str = "utf-8") -> str:
        """An answer of the API."""
        url = f"{self.program.url}/api/tenants/acme/log/{path}"

        def ask() -> str:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode(encoding))

        return await asyncio.to_thread(ask)


def exports(folder: Path) -> Path:
    """Three devices' exports, in two versions."""
    folder.mkdir()
    rows = ["device,version,commit_time,file"]
    for device in ("r1", "r2", "r3"):
        for version in (0, 1):
            (folder / device).mkdir(exist_ok=True)
            name = f"{device}/{version:03d}.rsc"
            (folder / name).write_text(export(device, version, START), newline="")
            rows.append(f"{device},{version},2026-03-0{version + 1}T00:00:00Z,{name}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    folder = tmp_path / "service"
    program = Program(folder, nats_url=None, postgres_dsn=None, key=KEY)
    key = SigningKey.generate_file(folder / "data" / "log.key")
    base = key.verifier(Settings().log_name)
    port = free_port()
    seen = tmp_path / "witness"
    witness = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        "witness",
        *("--name", NAME, "--deployment", str(base), "--folder", str(seen), "--port", str(port)),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
    )
    assert witness.stdout is not None
    try:
        url, vkey = (await witness.stdout.readline()).decode().split()
        assert vkey == str(SigningKey.from_file(seen / "witness.key").verifier(NAME, COSIGNATURE))
        program.environment["CONFIGTRAIL_WITNESSES"] = f"{url} {vkey}, http://127.0.0.1:1 {AWAY}"
        program.environment["CONFIGTRAIL_SEAL_SECONDS"] = "0.2"
        program.environment["CONFIGTRAIL_AUTH"] = (
            "off"  # no key, so the log has only what is imported
        )
        await program.start()
        one = Service(folder, program, vkey)

        async def ready() -> bool:
            assert not program.ended, program.log.read_text()
            try:
                await one.get("checkpoint")
            except urllib.error.HTTPError as error:
                return error.code == 404  # nothing is sealed yet
            except OSError:
                return False
            return True

        await eventually(ready, within=60)
        await one.run("import", str(exports(tmp_path / "exports")))
        await one.run("audit", "seal")

        async def cosigned() -> bool:
            state = json.loads((await one.told("audit", "state", "--json", status=1))[0])
            told = {two["name"]: (two["outcome"], two["lacking"]) for two in state["witnesses"]}
            away = told.get(AWAY.name, ("", 0))
            return told.get(NAME) == ("cosigned", 0) and away[0] == "away"

        # Nobody waits for witnesses: what they say follows.
        await eventually(cosigned, within=30)
        yield one
    finally:
        if not program.ended:
            assert await program.stop() == 0
        witness.terminate()
        await witness.wait()


async def test_what_is_recorded_is_proven_to_whoever_asks(service: Service, tmp_path: Path) -> None:
    report = await service.report("--require-witness", service.witness)
    assert report["ok"], report
    assert report["events"] == report["sealed"] == report["rows"] == 9
    assert report["contents"] == 12

    proof = tmp_path / "proof"
    for printed in (await service.run("audit", "prove", "4"), await service.get("proofs/4")):
        proof.write_text(printed)
        told = json.loads(await service.run("audit", "verify-proof", "--json", str(proof)))
        assert (told["ok"], told["position"]) == (True, 4)
    proof.write_text(printed.replace("\nindex 3\n", "\nindex 2\n"))
    assert await service.run("audit", "verify-proof", str(proof), status=1) == ""
    # What the API answers is checked as it comes: curl … | configtrail audit verify-proof -
    for path in ("consistency?old=1", "proofs/4?log=stream"):
        await service.run("audit", "verify-proof", "-", stdin=await service.get(path))
    kept = tmp_path / "kept"
    kept.write_text(await service.get("checkpoint"))
    growth = await service.run("audit", "prove-growth", "9")
    check = ("audit", "verify-proof", "-", "--checkpoint", str(kept))
    await service.run(*check, stdin=growth)
    _, why = await service.told(*check, stdin=await service.get("consistency?old=8"), status=1)
    assert "it is not from the checkpoint of size 9" in why

    # Any client of such logs can read the tiles: the leaves are those of the proofs.
    assert len(await service.get("tile/0/000.p/9", "latin-1")) == 9 * 32

    story = json.loads(await service.run("audit", "reconstruct", "r2", "--json"))
    told_events = sorted(one["event"] for one in story["facts"])
    assert told_events == ["DiffGenerated", "SnapshotCreated", "SnapshotCreated"]
    assert all(one["sealed"] for one in story["facts"])
    asked = ("--reason", "an audit")
    as_of = ("reconstruct", "r2", "--at", "2026-03-01", "--text")
    await service.run("audit", *as_of, status=2)
    text = await service.run("audit", *as_of, *asked)
    shown = ("show", "r2", "--at", "2026-03-01", "--reveal")
    assert text == await service.run(*shown, *asked)
    reveals = ("audit", "--action", "config_content_revealed", "--json")
    told = json.loads(await service.run(*reveals))
    assert [one["details"]["reason"] for one in told] == ["an audit"] * 2
    assert len({one["resource_id"] for one in told}) == 1

    bundle = tmp_path / "acme.tar.zst"
    await service.run("audit", "export", str(bundle), "--content", status=2)
    await service.run("audit", "export", str(bundle), "--content", *asked)
    assert len(json.loads(await service.run(*reveals))) == 2 + 9
    assert bundle.stat().st_mode & 0o077 == 0
    unpack(bundle, tmp_path)
    keys = (await service.run("audit", "keys")).splitlines()
    trusted = tmp_path / "verify.py"
    trusted.write_text(await service.run("audit", "verifier"))
    assert trusted.read_bytes() == (tmp_path / "bundle" / "verify.py").read_bytes()
    verifier = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(trusted), str(tmp_path / "bundle")),
        *("--key", keys[0], "--key", keys[1]),
        *("--witness", service.witness, "--max-age", "600"),
        stdout=subprocess.PIPE,
    )
    said = (await verifier.communicate())[0].decode()
    assert "9 texts are those" in said
    assert said.endswith("VERIFIED\n")


async def test_as_many_witnesses_must_agree_as_the_verifier_says(
    service: Service, tmp_path: Path
) -> None:
    verify = ("audit", "verify", "--no-content", "--no-rows")
    alias = VerifierKey("other.example/w9", VerifierKey.parse(service.witness).public, COSIGNATURE)
    stranger = SigningKey(bytes(32)).verifier(NAME, COSIGNATURE)
    kept = tmp_path / "kept"
    kept.write_text("no checkpoint\n")
    for wanted, status, words in (
        ((NAME, AWAY.name, "--quorum", "1"), 0, "everything is as it was signed"),
        ((NAME, AWAY.name, "--quorum", "2"), 1, "NOT cosigned by the witnesses that it must be"),
        ((NAME, AWAY.name, "--quorum", "3"), 2, "--quorum must be at most 2"),
        # One witness, whatever the names that its key is given under.
        ((NAME, str(alias), "--quorum", "2"), 2, "--quorum must be at most 1"),
        ((NAME, str(alias), str(AWAY), "--quorum", "2"), 1, "NOT cosigned by the witnesses"),
        ((str(stranger),), 1, "NOT cosigned by the witnesses"),
        (("nobody",), 1, "must be a key, or named in CONFIGTRAIL_WITNESSES; nobody is not"),
        ((NAME, "--key", service.witness), 1, "must be the key of a log"),
        ((NAME, "--checkpoint", str(kept)), 1, f"{kept} does not verify"),
    ):
        options: list[str] = []
        for one in wanted:
            plain = one.startswith("--") or (options[-1:] and options[-1].startswith("--"))
            options += [one] if plain else ["--require-witness", one]
        _, told = await service.told(*verify, *options, status=status)
        assert words in " ".join(told.split()), (wanted, told)


async def test_a_witness_that_does_not_cosign_is_told_of(service: Service) -> None:
    state = json.loads(await service.run("audit", "state", "--json", status=1))
    assert (state["head"], state["signed"], state["given_up"]) == (9, 9, [])
    told = {one["name"]: (one["outcome"], one["lacking"]) for one in state["witnesses"]}
    assert told[NAME] == ("cosigned", 0)
    # Nobody answers at its address: it is asked about one log, and left alone for a while.
    assert told[AWAY.name][0] == "away"
    answered = json.loads(await service.get("state"))
    assert (answered["log"].rpartition("/")[2], answered["size"]) == ("acme", 9)
    assert {one["name"]: one["outcome"] for one in answered["witnesses"]}[NAME] == "cosigned"
    shown, said = await service.told("audit", "state", status=1)
    assert AWAY.name in shown
    assert "signed up to position 9 of 9" in said
    found = json.loads(await service.run("doctor", "--json", status=1))
    wrong = {one["subject"]: one["told"] for one in found if one["verdict"] == "wrong"}
    assert list(wrong) == [f"witness {AWAY.name}"]
    assert "can't be reached, for" in wrong[f"witness {AWAY.name}"]

    def metrics() -> str:
        with urllib.request.urlopen(f"{service.program.url}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    counted = await asyncio.to_thread(metrics)
    assert f'configtrail_witness_answers_total{{outcome="away",witness="{AWAY.name}"}}' in counted
    assert "configtrail_log_unwitnessed 2.0" in counted


async def test_whoever_has_only_postgres_can_change_nothing_unseen(service: Service) -> None:
    runtime = json.loads((service.folder / "data" / "runtime.json").read_text())
    connection = await asyncpg.connect(runtime["postgres_dsn"])
    try:
        await connection.execute(
            "UPDATE configtrail.audit SET actor = 'user:eve' WHERE position = 3"
        )
        await connection.execute("DELETE FROM configtrail.audit WHERE position = 5")
    finally:
        await connection.close()
    report = await service.report("--no-content", status=1)
    found = [(one["what"], one["kind"], one["position"]) for one in report["findings"]]
    assert found == [("audit row", "altered", 3), ("audit row", "missing", 5)]


async def test_the_story_is_told_of_a_device_whose_text_was_removed(service: Service) -> None:
    runtime = json.loads((service.folder / "data" / "runtime.json").read_text())
    nc = await nats.connect(runtime["nats_url"])
    try:
        await nc.jetstream().purge_stream(CONTENT, subject="configtrail-content.acme.r3")
    finally:
        await nc.close()
    told, why = await service.told("audit", "reconstruct", "r3", "--json", status=1)
    assert "is not in the content store; no event says that it should be so" in why
    story = json.loads(told)
    assert (len(story["facts"]), story["configuration"]) == (3, None)
    told, why = await service.told("audit", "reconstruct", "r3", status=1)
    assert "a new configuration" in " ".join(told.split())
    assert "the text can't be shown" in why
    asked = ("--text", "--reason", "an audit")
    assert await service.run("audit", "reconstruct", "r3", *asked, status=1) == ""


async def test_texts_go_by_policy_or_by_a_persons_word_and_history_verifies(
    service: Service,
) -> None:
    because = ("--reason", "as agreed")
    await service.run("retention", "set", "--last", "1", *because)
    shown = json.loads(await service.run("retention", "--json"))
    assert (shown["policy"], shown["holds"]) == ({"last": 1}, [])
    await service.run("retention", "hold", "case-7", "--device", "r1", *because)
    shown = json.loads(await service.run("retention", "--json"))
    assert [(one["hold"], one["device"]) for one in shown["holds"]] == [("case-7", "r1")]
    planned = json.loads(await service.run("retention", "run", "--dry-run", "--json"))
    gone = {(one["device"], one["goes"]) for one in planned}
    assert ("r2", True) in gone
    assert ("r1", True) not in gone
    assert any("legal hold: as agreed" in one["reasons"] for one in planned)
    done = json.loads(await service.run("retention", "run", "--json"))
    assert [one for one in done if one["goes"]] == [one for one in planned if one["goes"]]
    await service.run("erase", "r1", "--yes", *because, status=1)
    await service.run("retention", "release", "case-7", "--device", "r1", *because)
    assert json.loads(await service.run("retention", "--json"))["holds"] == []
    # Without an answer nothing is erased: of r1 nothing expired, of the others all but the last.
    _, told = await service.told("erase", "r1", *because, "--dry-run")
    assert "r1: would destroy the keys of 3 texts of 1 devices" in told
    planned = json.loads(
        await service.run("erase", "--whole-tenant", *because, "--dry-run", "--json")
    )
    assert planned == {"r1": 3, "r2": 1, "r3": 1}
    _, asked = await service.told("erase", "r1", *because, status=1)
    assert "destroy the keys of 3 texts of 1 devices: erase all texts of r1, for good?" in asked
    assert "Aborted" in asked
    await service.run("erase", "r1", *because, stdin="y\n")
    assert await service.run("audit", "reconstruct", "r1", "--text", *because, status=1) == ""
    story = json.loads(await service.run("audit", "reconstruct", "r1", "--json"))
    assert story["facts"][-1]["event"] == "ContentShredded"
    await service.run("audit", "seal")
    report = await service.report()
    assert report["ok"], report
    assert (report["gone"] > 0, report["lingering"]) == (True, 0)
