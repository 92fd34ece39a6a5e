"""The calls of docs/api.md, run as they stand there; their answers have the shape that is shown."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from adapters.composition import open_system
from adapters.embedded.nats import EmbeddedNats
from adapters.http.app import create_app
from adapters.jetstream.intake import CREATE
from domain.collecting import host_key_shown
from tests.serving import Api, program, settings_for
from tests.support import eventually

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
_SHOWN = re.compile(r"^\$ (?P<call>.+)\n(?P<answer>(?:(?!\$ |```).*\n)*)", re.MULTILINE)
_ADDRESS = re.compile(r"\"(\$T|\$API|\$\{API%/api\})(/[^\"?]*)")
_METHOD = re.compile(r" -X ([A-Z]+) ")
_BASES = {"$T": "/api/tenants/acme", "$API": "/api", "${API%/api}": ""}
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def calls(guide: str) -> list[tuple[str, str]]:
    """Each call with the answer that is shown for it."""
    return [
        (shown["call"], shown["answer"])
        for block in _BLOCK.findall(guide)
        for shown in _SHOWN.finditer(block)
    ]


def asked(call: str) -> tuple[str, str]:
    """Which method of which path a call asks."""
    [(base, path)] = _ADDRESS.findall(call)
    method = _METHOD.search(call)
    default = "post" if " -d " in call else "get"
    return method[1].lower() if method else default, _BASES[base] + path


def operation(paths: list[str], path: str) -> str:
    """The path of the description that is meant: that with the most words of its own."""
    fitting = [
        one
        for one in paths
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one.replace("{path}", ".+")), path)
    ]
    return min(fitting, key=lambda one: one.count("{"))


def shape(value: Any) -> Any:
    """What an answer is made of: names and kinds, of lists the first one's."""
    match value:
        case dict():
            # When a key was used is kept once a minute: how slow the machine is decides.
            return {name: shape(one) for name, one in value.items() if name != "last_used"}
        case list():
            return [shape(one) for one in value[:1]]
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
        case _:
            return "text"


async def run(call: str, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        call,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, call
    return out.decode()


async def test_every_operation_is_shown(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with open_system(settings_for(nats_server, postgres_dsn, tmp_path)) as system:
        described = create_app(system).openapi()["paths"]
    wanted = {(method, path) for path, found in described.items() for method in found}
    shown = {
        (method, operation(list(described), path))
        for method, path in (asked(call) for call, _ in calls(GUIDE.read_text()))
    }
    assert sorted(wanted - shown) == []


async def test_every_call_of_the_guide_answers_in_the_shape_that_it_shows(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    guide = calls(GUIDE.read_text())
    assert len(guide) > 20
    settings = settings_for(
        nats_server, postgres_dsn, tmp_path, trigger_timeout_seconds=2, seal_seconds=1
    )
    async with program(settings) as api:
        environment = {
            "API": f"{api.address}/api",
            "T": f"{api.address}/api/tenants/acme",
            "AUTH": f"Authorization: {api.http.headers['Authorization']}",
        }
        names = ["FIRST", "SECOND", "OTHER"]
        await eventually(lambda: _ready(api.http))
        beforehand = {
            "/log/": _sealed,
            "/search?": _with_a_process_that_searches,
            "/host-key/": _with_a_host_key,
            "/dead-letters": _with_a_dead_letter,
            "/parked": _with_parked_events,
        }
        for call, shown in guide:
            for part in [one for one in beforehand if one in call]:
                await beforehand.pop(part)(api)
            answer = await run(call, environment)
            if "/config?" in call:
                environment[names.pop(0)] = json.loads(answer)["snapshot_id"]
                environment["POSITION"] = str(json.loads(answer)["position"])
            if call.endswith('/keys"') and " -d " in call:
                environment["KEY"] = json.loads(answer)["key_id"]
            if call.endswith('/dead-letters"'):
                environment["LETTER"] = str(json.loads(answer)["items"][0]["sequence"])
            if call.endswith('/parked"'):
                environment["PARKED"] = str(json.loads(answer)["items"][0]["position"])
            if asked(call)[0] != "get":
                await api.settled()
            if shown.lstrip().startswith(("{", "[")):
                assert shape(json.loads(answer)) == shape(json.loads(shown)), call
            else:
                assert answer.splitlines()[:1] == shown.splitlines()[:1], call


async def _sealed(api: Api) -> None:
    """Until all that was told so far is signed."""
    head = await api.settled()

    async def proven() -> bool:
        path = f"/api/tenants/acme/log/proofs/{head}"
        return bool((await api.http.get(path)).status_code == 200)

    await eventually(proven)


async def _with_a_process_that_searches(api: Api) -> None:
    """It takes a while to start on a busy machine, and a page has its budget of time."""

    async def searched() -> bool:
        answer = await api.http.get("/api/tenants/acme/search", params={"q": "system"})
        return answer.json()["next_cursor"] is None

    await eventually(searched)


async def _with_a_host_key(api: Api) -> None:
    shown = partial(
        host_key_shown,
        tenant_id="acme",
        device_id="edge",
        change_id="pinned",
        occurred_at=datetime.now(UTC),
        algorithm="ssh-ed25519",
        public_key="AAAA",
        fingerprint=f"SHA256:{'A' * 43}",
        address="192.0.2.1",
    )
    await api.system.devices.change("acme", "edge", shown)


async def _with_a_dead_letter(api: Api) -> None:
    told = {"tenant_id": "acme", "device_id": "edge", "collected_at": "2026-03-03T06:00:00Z"}
    body = {**told, "config_text": "", "sha256_hash": "0"}
    await api.system.intake.publish_raw(CREATE, json.dumps(body).encode())
    await api.settled()


async def _with_parked_events(api: Api) -> None:
    """As if the audit trail could not take in what each device's first event was."""
    await api.system.pool.execute(
        """
        WITH gone AS (
            DELETE FROM configtrail.audit WHERE position IN (
                SELECT min(position) FROM configtrail.audit
                WHERE tenant_id = 'acme' AND device_id IN ('edge', 'core') GROUP BY device_id
            ) RETURNING position, device_id, event_id
        )
        INSERT INTO configtrail.parked
            (projection, position, tenant_id, device_id, event_id, type_name, error)
        SELECT 'audit', position, 'acme', device_id, event_id, 'SnapshotCreated', 'DataError'
        FROM gone
        """
    )


async def _ready(http: Any) -> bool:
    return bool((await http.get("/api/tenants/acme/fleet")).status_code == 200)
