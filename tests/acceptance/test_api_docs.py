"""The calls of docs/api.md, run as they stand there; their answers have the shape that is shown."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

from adapters.embedded.nats import EmbeddedNats
from tests.serving import program, settings_for
from tests.support import eventually

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"
_SHOWN = re.compile(r"^\$ (?P<call>.+)\n(?P<answer>(?:(?!\$ |```).*\n)*)", re.MULTILINE)
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def calls(guide: str) -> list[tuple[str, str]]:
    """Each call with the answer that is shown for it."""
    return [
        (shown["call"], shown["answer"])
        for block in _BLOCK.findall(guide)
        for shown in _SHOWN.finditer(block)
    ]


def shape(value: Any) -> Any:
    """What an answer is made of: names and kinds, of lists the first one's."""
    match value:
        case dict():
            return {name: shape(one) for name, one in value.items()}
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


async def test_every_call_of_the_guide_answers_in_the_shape_that_it_shows(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    guide = calls(GUIDE.read_text())
    assert len(guide) > 20
    settings = settings_for(nats_server, postgres_dsn, tmp_path, trigger_timeout_seconds=2)
    async with program(settings) as api:
        environment = {
            "API": f"{api.address}/api",
            "T": f"{api.address}/api/tenants/acme",
            "AUTH": f"Authorization: {api.http.headers['Authorization']}",
        }
        names = ["FIRST", "SECOND", "OTHER"]
        await eventually(lambda: _ready(api.http))
        for call, shown in guide:
            answer = await run(call, environment)
            if "/config?" in call:
                environment[names.pop(0)] = json.loads(answer)["snapshot_id"]
            if call.endswith('"$T/keys"') and " -d " in call:
                environment["KEY"] = json.loads(answer)["key_id"]
            if "-X PUT" in call or " -d " in call:
                await api.settled()
            if shown.lstrip().startswith(("{", "[")):
                assert shape(json.loads(answer)) == shape(json.loads(shown)), call
            else:
                assert answer.splitlines()[:1] == shown.splitlines()[:1], call


async def _ready(http: Any) -> bool:
    return bool((await http.get("/api/tenants/acme/fleet")).status_code == 200)
