"""Faults on purpose: a proxy that loses answers, and a cluster whose servers can be killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.process import free_port


class Proxy:
    """Between a client and a server. It can lose all that the server says."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf = False
        self._heard = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        user = f"{self._server.username}:{self._server.password}"
        return urlunsplit(self._server._replace(netloc=f"{user}@127.0.0.1:{port}"))

    def lose_answers(self, *, after: int = 0) -> None:
        """After so many more, nothing that the server says arrives; what the client says does."""
        self._deaf = True
        self._heard = after

    def cut(self) -> None:
        """End all connections, and let new ones be heard again."""
        self._deaf = False
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Proxy:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._listener is not None
        self._listener.close()
        while self._tasks:
            self.cut()
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        connecting = asyncio.current_task()
        assert connecting is not None
        self._keep(connecting)
        there, back = await asyncio.open_connection(self._server.hostname, self._server.port)
        self._writers.add(back)
        self._keep(asyncio.create_task(self._pump(reader, back, answers=False)))
        self._keep(asyncio.create_task(self._pump(there, writer, answers=True)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(65_536):
                if answers and self._deaf:
                    if not self._heard:
                        continue
                    self._heard -= 1
                target.write(chunk)
                await target.drain()
        target.close()
        self._writers.discard(target)


class ClusterNode(EmbeddedNats):
    """One of three servers that replicate each other's streams."""

    def __init__(self, folder: Path, name: str, routes: dict[str, int], sync: str) -> None:
        super().__init__(
            folder / name, port=free_port(), encryption_key=None, user="tests", password="tests"
        )
        self.name = name
        self._routes = routes
        self._sync = sync

    def _config(self, port: int) -> str:
        routes = ", ".join(
            f"nats://127.0.0.1:{other}" for name, other in self._routes.items() if name != self.name
        )
        plain = (
            super()
            ._config(port)
            .replace("server_name: configtrail", f"server_name: {json.dumps(self.name)}")
        )
        return (
            plain.replace("sync_interval: always", f"sync_interval: {self._sync}")
            + f"""
cluster {{
  name: tests
  listen: "127.0.0.1:{self._routes[self.name]}"
  routes: [{routes}]
}}
"""
        )

    async def _check_restored(self, jetstream: JetStreamContext) -> None:
        """A node that comes back gets its streams from the others, after it serves: it suffices
        that the cluster has a leader, which answers this."""
        await jetstream.account_info()


class Cluster:
    """Three servers on the loopback."""

    def __init__(self, folder: Path, sync: str = "always") -> None:
        routes = {f"n{number}": free_port() for number in range(1, 4)}
        self.nodes = {name: ClusterNode(folder, name, routes, sync) for name in routes}

    @property
    def url(self) -> str:
        """All three, with commas between them."""
        return ",".join(node.url for node in self.nodes.values())

    async def leader(self, nc: Client, stream: str) -> ClusterNode:
        """The node that leads a stream."""
        cluster = (await nc.jetstream().stream_info(stream)).cluster
        assert cluster is not None
        assert cluster.leader is not None
        return self.nodes[cluster.leader]


@asynccontextmanager
async def cluster(folder: Path, sync: str = "always") -> AsyncIterator[Cluster]:
    """A running cluster."""
    running = Cluster(folder, sync)
    try:
        async with asyncio.TaskGroup() as starting:
            for node in running.nodes.values():
                starting.create_task(node.start())
        yield running
    finally:
        await asyncio.gather(*(node.stop() for node in running.nodes.values()))
