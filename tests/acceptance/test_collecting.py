"""Devices, the program and its commands as a person uses them: from a list of routers to a diff."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pygit2
import pytest

from adapters.embedded.nats import EmbeddedNats
from tests.acceptance.program import CONFIGTRAIL, Program
from tests.doubles.routeros import Action, RouterOSDouble, export_text, serving
from tests.support import eventually

PASSWORD = "Zaunkoenig-2b7d-Passwort"
SIZE = 1_000_000


class Commands:
    """The command line, on the same servers as a program."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._environment = {**program.environment, "CONFIGTRAIL_TENANT": "acme"}
        self._folder = folder

    async def run(self, *arguments: str, given: str = "", status: int = 0) -> str:
        """What a command says; fails when its exit status is another one."""
        out, err = await self._run(arguments, given, status)
        return out + (err if status else "")

    async def told(self, *arguments: str) -> str:
        """What a command that goes well says beside."""
        return (await self._run(arguments, "", 0))[1]

    async def _run(self, arguments: tuple[str, ...], given: str, status: int) -> tuple[str, str]:
        process = await asyncio.create_subprocess_exec(
            *(str(CONFIGTRAIL), *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env=self._environment,
        )
        out, err = await process.communicate(given.encode())
        assert PASSWORD.encode() not in out + err
        assert process.returncode == status, (arguments, out, err)
        return out.decode(), err.decode()


@pytest.fixture
async def program(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> AsyncIterator[Program]:
    running = Program(
        tmp_path / "program",
        nats_url=nats_server.url,
        postgres_dsn=postgres_dsn,
        key=base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    await running.start()
    try:
        await eventually(lambda: _ready(running), within=60)
        yield running
        assert await running.stop() == 0
    finally:
        await running.kill()
    assert PASSWORD.encode() not in await asyncio.to_thread(running.log.read_bytes)


async def _ready(program: Program) -> bool:
    assert not program.ended, program.log.read_text()
    try:
        async with httpx.AsyncClient() as api:
            return (await api.get(f"{program.url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@asynccontextmanager
async def api_of(program: Program) -> AsyncIterator[httpx.AsyncClient]:
    base = f"{program.url}/api/tenants/acme/"
    async with httpx.AsyncClient(base_url=base, timeout=60) as api:
        yield api


async def test_a_registered_router_is_collected_on_demand_and_its_change_is_shown(
    program: Program, tmp_path: Path
) -> None:
    double = RouterOSDouble(password=PASSWORD, text=export_text("7.14.3", size=SIZE))
    commands = Commands(program, tmp_path)
    async with serving(double), api_of(program) as api:
        await commands.run("credentials", "set", "main", "--username", "backup", given=PASSWORD)
        (tmp_path / "fleet.csv").write_text(
            f"name,address,port,credential,history\nr1,127.0.0.1,{double.port},store:main,yes\n"
        )
        await commands.run("inventory", "apply", "fleet.csv")
        first = json.loads(await commands.run("trigger", "r1", "--wait", "--join", "--json"))
        assert first["outcome"] in ("succeeded", "duplicate")
        text = export_text("7.14.3", size=SIZE, name="renamed")
        double.text = text
        double.actions = [Action("identity changed", "ann", datetime.now(UTC))]
        asked = await api.post("devices/r1/config-snapshot/trigger?wait=true&join=true")
        assert asked.status_code == 201, asked.text
        done = asked.json()
        assert done["outcome"] == "succeeded"
        diff = await commands.run("diff", "r1")
        assert "+set name=renamed" in diff
        assert "-set name=r1" in diff
        history = (await api.get("devices/r1/config-history")).json()
        assert len(history) == 2
        assert [one["who"] for one in history[0]["changed_by"]["people"]] == ["ann"]
        assert history[1]["changed_by"] is None
        compared = json.loads(await commands.run("diff", "r1", "--json"))
        assert compared["changed_by"]["certainty"] == "known"
        assert "changed by ann" in await commands.run("diff", "r1", "--semantic")
        assert "changed by" in " ".join((await commands.run("history", "r1")).split())
        audit = (await api.get("audit-logs?per_page=100")).json()
        actions = {one["action"] for one in audit["items"]}
        assert {"device_configured", "host_key_pinned", "config_backup_manual_trigger"} <= actions
        impostor = RouterOSDouble(password=PASSWORD, port=double.port)
    async with serving(impostor), api_of(program) as api:
        told = await api.post("devices/r1/config-snapshot/trigger?join=true")
        assert told.status_code == 502
        assert "host_key_changed" in told.text
        assert impostor.logins == []
        [keys] = json.loads(await commands.run("hostkeys", "--json"))
        assert keys["pinned"] == double.host_key.get_fingerprint()
        assert keys["refused"] == impostor.host_key.get_fingerprint()
        assert keys["pinned"] in await commands.run("hostkeys", "list")
        assert "r1" in await commands.run("inventory", "list")
        await commands.run("hostkeys", "release", "r1", "--reason", "new board")
        asked = await api.post("devices/r1/config-snapshot/trigger?join=true")
        assert asked.status_code == 201, asked.text


async def test_the_inventory_is_kept_over_the_api_and_refuses_what_breaks_its_rules(
    program: Program,
) -> None:
    async with api_of(program) as api:
        refused = await api.put("inventory/r 1", json={"address": "127.0.0.1", "password": "x"})
        assert (refused.status_code, refused.json()["field"]) == (422, "password")
        refused = await api.put("inventory/r1", json={"address": "no-such-host.invalid"})
        assert "can't be resolved" in refused.text
        refused = await api.put("inventory/r1", json={"address": "127.0.0.1", "jump": "gate"})
        assert refused.json()["field"] == "jump"
        body = {"address": "127.0.0.1", "enabled": False, "port": 2222, "interval": "1d"}
        done = await api.put("inventory/r1", json=body)
        assert (done.status_code, done.json()["interval_seconds"]) == (200, 86_400)
        assert (await api.get("inventory")).json() == [done.json()]
        assert (await api.get("inventory/r1")).json() == done.json()
        assert (await api.get("inventory/r2")).status_code == 404
        gone = await api.request("DELETE", "inventory/r1", json={"reason": "sold"})
        assert gone.status_code == 204
        assert (await api.get("inventory")).json() == []
        assert (await api.delete("inventory/r1")).status_code == 404
        key = await api.post("devices/r1/host-key/release", json={"reason": "why not"})
        assert key.status_code == 404


async def test_groups_and_credentials_are_kept_by_api_and_command_line_and_audited(
    program: Program, tmp_path: Path
) -> None:
    commands = Commands(program, tmp_path)
    async with api_of(program) as api:
        body = {"address": "127.0.0.1", "enabled": False, "group": "edge", "port": 2222}
        assert (await api.put("inventory/r1", json=body)).status_code == 200
        given = {"defaults": {"interval": "1h", "port": 23}, "reason": "as agreed"}
        made = await api.put("device-groups/edge", json=given)
        assert made.json() == {
            "group": "edge",
            "defaults": {"interval_seconds": 3600, "port": 23},
            "devices": ["r1"],
        }
        changed = await api.patch(
            "device-groups/edge", json={"defaults": {"port": "", "username": "backup"}}
        )
        assert changed.json()["defaults"] == {"interval_seconds": 3600, "username": "backup"}
        wrong = {"defaults": {"interval": "soon", "password": PASSWORD, "port": 0}}
        refused = await api.put("device-groups/edge", json=wrong)
        assert refused.status_code == 422
        assert PASSWORD not in refused.text
        for field in ("interval", "password", "port"):
            assert f"{field}: " in refused.text
        assert (await api.get("device-groups/edge")).json() == changed.json()
        assert (await api.request("DELETE", "device-groups/edge")).status_code == 422

        # Each command is a program of its own, which takes its time: the API does the rest.
        changing = ("groups", "change", "edge", "credential=store:main", "history=yes")
        assert "store:main is not there yet" in await commands.told(*changing)
        shown = await commands.run("devices", "show", "r1")
        assert "the group edge" in shown
        settings = (await api.get("inventory/r1")).json()
        assert (settings["port"], settings["credential"]) == (2222, "store:main")
        came_from = [settings["origins"][one] for one in ("port", "credential", "timeout_seconds")]
        assert came_from == ["device", "group", "default"]
        reason = ("--reason", "a new login")
        await commands.run("credentials", "set", "main", *reason, given=PASSWORD)
        (listed,) = (await api.get("credentials")).json()
        assert (listed["name"], listed["devices"], listed["holds"]) == (
            "main",
            ["r1"],
            ["password"],
        )
        kept = await commands.run("credentials", "remove", "main", status=1)
        assert "is used by r1; give them another one first" in kept
        assert (await api.request("DELETE", "inventory/r1")).status_code == 204
        await commands.run("credentials", "remove", "main", "--reason", "unused")
        gone = await api.request("DELETE", "device-groups/edge", json={"reason": "sold"})
        assert gone.status_code == 204
        assert (await api.get("device-groups")).json() == []

        async def told() -> list[dict[str, Any]] | None:
            items = [
                one
                for one in (await api.get("audit-logs?per_page=100")).json()["items"]
                if one["resource_type"] in ("device_group", "credential")
            ]
            return items if len(items) == 6 else None

        items = await eventually(told)
    assert items is not None
    assert [(one["action"], one["resource_id"]) for one in reversed(items)] == [
        ("device_group_configured", "edge"),
        ("device_group_configured", "edge"),
        ("device_group_configured", "edge"),
        ("credential_set", "main"),
        ("credential_removed", "main"),
        ("device_group_removed", "edge"),
    ]
    assert {one["details"].get("reason") for one in items} >= {"as agreed", "a new login", "sold"}
    assert all(one["actor"] for one in items)
    assert PASSWORD not in json.dumps(items)


async def test_what_others_need_is_not_removed_and_a_file_that_is_not_there_is_told(
    program: Program, tmp_path: Path
) -> None:
    commands = Commands(program, tmp_path)
    await commands.run("inventory", "set", "gate", "address=127.0.0.1", "platform=jump")
    told = await commands.run("collect", "--once", "gate", status=1)
    assert "gate is a jump host" in told
    over = ("address=127.0.0.1", "jump=gate", "credential=file:routers", "enabled=no")
    assert "file:routers can't be read" in await commands.told("inventory", "set", "r1", *over)
    told = await commands.run("inventory", "remove", "gate", status=1)
    assert "others are reached through it: r1" in " ".join(told.split())
    async with api_of(program) as api:
        back = {"address": "127.0.0.1", "platform": "jump", "jump": "r1"}
        refused = await api.put("inventory/gate", json=back)
        assert "leads back to the device itself" in refused.text
        refused = await api.delete("inventory/gate")
        assert (refused.status_code, refused.json()["field"]) == (422, "device")
        assert (await api.delete("inventory/r1")).status_code == 204
    await commands.run("inventory", "remove", "gate")


async def test_collect_once_tells_what_came_of_each_device_by_table_and_status(
    program: Program, tmp_path: Path
) -> None:
    commands = Commands(program, tmp_path)
    (tmp_path / "secret").write_text(PASSWORD)
    async with serving(RouterOSDouble(password=PASSWORD)) as double:
        fleet = (
            "defaults: {username: backup, credential: 'file:secret', address: 127.0.0.1}\n"
            f"devices: [{{name: r1, port: {double.port}}}, {{name: r2, port: 1}}]\n"
        )
        (tmp_path / "fleet.yaml").write_text(fleet)
        arguments = ("collect", "--once", "--inventory", "fleet.yaml", "--json")
        results = await commands.run(*arguments, status=1)
        found: list[dict[str, Any]] = json.loads(results[: results.rindex("]") + 1])
        assert [(one["device_id"], one["outcome"], one["kind"]) for one in found] == [
            ("r1", "new", None),
            ("r2", "failed", "unreachable"),
        ]
        again = json.loads(await commands.run(*arguments, "r1"))
        assert [(one["device_id"], one["outcome"]) for one in again] == [("r1", "unchanged")]
        (tmp_path / "fleet.yaml").write_text(fleet.replace("port: 1}", f"password: {PASSWORD}}}"))
        refused = await commands.run(*arguments, status=1)
        assert "fleet.yaml line 2: password: a secret must not stand" in refused


async def test_the_history_of_a_repository_comes_in_with_its_authors_once(
    program: Program, tmp_path: Path
) -> None:
    commands = Commands(program, tmp_path)
    repo = pygit2.init_repository(str(tmp_path / "repo"), bare=True, initial_head="main")
    parents: list[pygit2.Oid] = []
    for number in range(12):
        text = export_text("7.14.3", name=f"n{number}")
        index = pygit2.Index()
        blob = repo.create_blob(text.encode())
        index.add(pygit2.IndexEntry("edge/r1", blob, pygit2.enums.FileMode.BLOB))
        who = pygit2.Signature("Ann", "ann@example.net", 1_700_000_000 + 3600 * number, 60)
        tree = index.write_tree(repo)
        parents = [repo.create_commit("refs/heads/main", who, who, "x", tree, parents)]
    done = json.loads(await commands.run("import", "repo", "--json"))
    assert (done["created"], done["diffs"], done["refused"]) == (12, 11, [])
    again = json.loads(await commands.run("import", "repo", "--json"))
    assert (again["created"], again["known"]) == (0, 12)
    audit = json.loads(await commands.run("audit", "--action", "config_snapshot_created", "--json"))
    assert {one["details"]["author"] for one in audit} == {"Ann <ann@example.net>"}
    history = json.loads(await commands.run("history", "r1", "--json"))
    assert len(history) == 12
    # What can't come in is named, and costs only itself.
    who = pygit2.Signature("Ann", "ann@example.net", 253_402_300_800, 60)
    for name in ("edge/r2", "edge/r3.cfg", "edge/r3.txt", "edge/r4"):
        index.add(pygit2.IndexEntry(name, blob, pygit2.enums.FileMode.BLOB))
        tree = index.write_tree(repo)
        parents = [repo.create_commit("refs/heads/main", who, who, "x", tree, parents)]
        who = pygit2.Signature("Ann", "ann@example.net", 1_700_100_000, 60)
    some = json.loads(await commands.run("import", "repo", "--json", status=1))
    assert (some["created"], some["known"]) == (1, 12)
    assert [(one["where"].split()[0], one["field"]) for one in some["refused"]] == [
        ("edge/r3.cfg", "file"),
        ("edge/r3.txt", "file"),
        ("edge/r2", "collected_at"),
    ]
    by_path = json.loads(
        await commands.run("import", "repo", "--names", "path", "--json", status=1)
    )
    assert (by_path["created"], len(by_path["refused"])) == (15, 1)
