"""A server that refuses our password is told as that by every command, at once, and by `up` too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.embedded.nats import EmbeddedNats
from tests.acceptance.program import CONFIGTRAIL, Program
from tests.rig import MASTER as KEY


def with_wrong_password(url: str) -> str:
    parts = urlsplit(url)
    wrong = f"{parts.username}:wrong-7c1d@{parts.hostname}:{parts.port}"
    return parts._replace(netloc=wrong).geturl()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("NATS", ["devices"]),
        ("NATS", ["replay"]),
        ("NATS", ["audit", "reconstruct"]),
        ("NATS", ["up"]),
        ("Postgres", ["devices"]),
        ("Postgres", ["up"]),
    ],
)
async def test_a_refused_password_is_told(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path, server: str, words: list[str]
) -> None:
    urls = {"NATS": nats_server.url, "Postgres": postgres_dsn}
    urls[server] = with_wrong_password(urls[server])
    program = Program(
        tmp_path / "program", nats_url=urls["NATS"], postgres_dsn=urls["Postgres"], key=KEY
    )
    process = await asyncio.create_subprocess_exec(
        str(CONFIGTRAIL),
        *words,
        env={**program.environment, "CONFIGTRAIL_CONNECT_SECONDS": "600"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3
    assert f"{server} refuses" in told.decode()
    assert "wrong-7c1d" not in told.decode()
