"""The API keeps its own description: generated requests against the running program."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from adapters.embedded.nats import EmbeddedNats
from tests.identity import AUDIENCE, Provider
from tests.serving import NOON, TEXTS, program, settings_for

# For a longer run: CONFIGTRAIL_SCHEMA_EXAMPLES=200.
EXAMPLES = 1
CONFIG = Path(__file__).parent.parent / "schemathesis.toml"


async def test_whatever_the_description_allows_is_answered_as_it_says(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    with Provider() as idp:
        settings = settings_for(
            nats_server,
            postgres_dsn,
            tmp_path,
            trigger_timeout_seconds=1,
            rate_per_second=100_000,
            oidc_issuer=idp.issuer,
            oidc_audience=AUDIENCE,
            oidc_grants="groups=netops * admin",
            oidc_key_days=36_600,
        )
        async with program(settings) as api:
            for number, text in enumerate(TEXTS):
                await api.system.intake.publish("acme", f"r{number}", text, NOON)
            await api.settled()
            # It finds keys in the list of them and revokes them: its own must not be among them.
            code, out = await generated(api.address, idp.token(), tmp_path)
            assert code == 0, out
            # What was taken can be taken in.
            await api.settled()
            parked = "SELECT projection, type_name, error FROM configtrail.parked"
            assert await api.system.pool.fetch(parked) == []


async def generated(address: str, token: str, folder: Path) -> tuple[int | None, str]:
    """A run of generated requests: its exit status, and what it says."""
    run = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"),
        f"--config-file={CONFIG}",
        "run",
        f"{address}/api/openapi.json",
        f"--header=Authorization: Bearer {token}",
        "--checks=all",
        f"--max-examples={os.environ.get('CONFIGTRAIL_SCHEMA_EXAMPLES', EXAMPLES)}",
        "--suppress-health-check=all",
        "--generation-deterministic",
        "--no-color",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    try:
        out, _ = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
            await run.wait()
    return run.returncode, out.decode()
