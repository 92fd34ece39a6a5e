"""The API keeps its own description: generated requests against the running program."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import httpx

from adapters.embedded.nats import EmbeddedNats
from tests.serving import HOME, NOON, TEXTS, program, settings_for
from tests.support import eventually

# For a longer run: CONFIGTRAIL_SCHEMA_EXAMPLES=200.
EXAMPLES = 1
# A feed has no end; what it answers is in test_http_live.
ENDLESS = r"/events$"
CONFIG = Path(__file__).parent.parent / "schemathesis.toml"


async def test_whatever_the_description_allows_is_answered_as_it_says(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(
        nats_server, postgres_dsn, tmp_path, trigger_timeout_seconds=1, rate_per_second=100_000
    )
    async with program(settings) as api:
        for number, text in enumerate(TEXTS):
            await api.system.intake.publish("acme", f"r{number}", text, NOON)
        await api.settled()
        await eventually(lambda: _answers(api.http))
        run = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "schemathesis"),
            f"--config-file={CONFIG}",
            "run",
            f"{api.address}/api/openapi.json",
            f"--header=Authorization: {api.http.headers['Authorization']}",
            "--checks=all",
            # An id of a device may hold anything: GET …/devices/r1/config is for one called so.
            "--exclude-checks=unsupported_method",
            f"--exclude-path-regex={ENDLESS}",
            f"--max-examples={os.environ.get('CONFIGTRAIL_SCHEMA_EXAMPLES', EXAMPLES)}",
            "--request-timeout=60",
            "--suppress-health-check=all",
            "--generation-deterministic",
            "--no-color",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        try:
            out, _ = await run.communicate()
        finally:
            if run.returncode is None:
                run.kill()
                await run.wait()
        assert run.returncode == 0, out.decode()


async def _answers(http: httpx.AsyncClient) -> bool:
    return (await http.get(HOME)).status_code == 200
