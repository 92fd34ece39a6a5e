"""The program as a process, against servers that a test owns."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from adapters.embedded.process import free_port
from tests.support import eventually

CONFIGTRAIL = Path(sys.executable).parent / "configtrail"


class Program:
    """`configtrail up` in a process group of its own."""

    def __init__(
        self, folder: Path, *, nats_url: str | None, postgres_dsn: str | None, key: str
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.log = folder / "program.log"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
            "CONFIGTRAIL_DATA_DIR": str(folder / "data"),
            "CONFIGTRAIL_MASTER_KEY": key,
            "CONFIGTRAIL_HTTP_PORT": str(self.port),
            "CONFIGTRAIL_ACK_WAIT_SECONDS": "1",
        }
        if nats_url is not None:
            self.environment["CONFIGTRAIL_NATS_URL"] = nats_url
            # Without servers of its own it makes no key; it is on the loopback.
            self.environment["CONFIGTRAIL_AUTH"] = "off"
        if postgres_dsn is not None:
            self.environment["CONFIGTRAIL_POSTGRES_DSN"] = postgres_dsn

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ended(self) -> bool:
        """Whether it is not running (any more)."""
        return self._process is None or self._process.returncode is not None

    async def start(self) -> None:
        """Start it; it may take a while until it is ready."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(CONFIGTRAIL),
                "up",
                cwd=self._folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer would."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def wait(self) -> int:
        """Return the exit status when it has ended by itself."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), 60)

    async def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self._process.wait()


@asynccontextmanager
async def ready(program: Program) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a program, once that is ready."""

    async with httpx.AsyncClient(base_url=program.url, timeout=60) as http:

        async def answers() -> bool:
            assert not program.ended, await asyncio.to_thread(program.log.read_text)
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers, within=120)
        yield http


async def command(environment: dict[str, str], *words: str) -> tuple[int, str, str]:
    """A command's exit status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        CONFIGTRAIL,
        *words,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
