"""The sealer: one of them at a time keeps the logs signed, on a beat and at once when asked.

Ask by a request on `config.log.seal`; the answer, as JSON, comes when everything that was in the
stream at the time of asking is signed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from adapters.crypto.signing import SigningKey
from adapters.jetstream.checkpoints import CheckpointStore, Overtaken
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.leases import Leases
from adapters.jetstream.verbatim import RawFeed
from adapters.observability.metrics import Metrics
from adapters.postgres.signed_marks import SignedMarks
from adapters.postgres.tiles import TileStore
from adapters.roles.cosigning import Cosign
from adapters.roles.sealing import Sealing, TilesWrong
from adapters.roles.signed_before import KeyRetired
from adapters.tlog.proofs import Prover
from adapters.witness.client import Witnesses
from domain.errors import KeyUnavailable, LeaseHeld, LeaseLost
from domain.tlog.leaf import RawEvent, subject_bytes
from projections.outages import is_outage, reason_of

log = logging.getLogger(__name__)

SEAL_SUBJECT = "config.log.seal"
LEASE = "sealer"
RETRY_SECONDS = 1.0
SAY_EVERY_SECONDS = 5.0
_TABLES_GONE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)

KeyLoader = Callable[[bool], SigningKey]


class SealAnswer(Struct, frozen=True):
    """Everything up to `position` of the stream is signed."""

    position: int


def key_loader(given: str | None, path: Path) -> KeyLoader:
    """Loads the log's key: as given, else from the file, else, the first time, a new one."""

    def load(first: bool) -> SigningKey:
        if given is not None:
            return SigningKey.from_base64(given)
        if not path.exists():
            if not first:
                raise KeyUnavailable(
                    "the log key",
                    f"checkpoints are signed with it, but it is not in CONFIGTRAIL_LOG_KEY, and "
                    f"there is no file {path}; put it back from its copy",
                )
            try:
                return SigningKey.generate_file(path)
            except FileExistsError:  # another program of this installation was faster
                return SigningKey.from_file(path)
        return SigningKey.from_file(path)

    return load


class Sealer:
    """The role. Any number may run: whoever holds the lease works, the others wait."""

    def __init__(
        self,
        nc: Client,
        *,
        feed: RawFeed,
        checkpoints: CheckpointStore,
        tiles: TileStore,
        marks: SignedMarks,
        leases: Leases,
        dead_letters: DeadLetters,
        metrics: Metrics,
        key: KeyLoader,
        base: str,
        every: float,
        lease_seconds: float = 10.0,
        witnesses: Witnesses | None = None,
        witness_every: float = 21_600.0,
    ) -> None:
        self._nc = nc
        self._feed = feed
        self._checkpoints = checkpoints
        self._tiles = tiles
        self._marks = marks
        self._leases = leases
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._load_key = key
        self._base = base
        self._every = every
        self._lease_seconds = lease_seconds
        self._witnesses = witnesses
        self._witness_every = witness_every
        # Also over a new hold of the lease: witnesses are not to be asked more often for that.
        self._renew_at = 0.0
        self._asked: list[Msg] = []
        self._wake = asyncio.Event()
        self._silent_until = 0.0

    async def run(self) -> None:
        """Seal until cancelled.

        Outages are waited out. What shows that history or key are not what they were is raised:
        `StreamGap`, `StreamMismatch`, `LogBroken`, `KeyUnavailable`; then nothing is signed.
        """
        while True:
            try:
                key = await self._key()
                async with self._leases.hold(LEASE, self._lease_seconds):
                    await self._work(key)
            except LeaseHeld:
                await asyncio.sleep(RETRY_SECONDS)
            except LeaseLost as error:
                log.warning("sealer: %s", error)
            except KeyRetired as error:
                # Whoever handed over puts the new key in place right after.
                log.warning("sealer: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                # A stream that is not there may come back; one that is made anew is told of then.
                if not is_outage(error) and not isinstance(error, NotFoundError):
                    raise
                now = asyncio.get_running_loop().time()
                if now >= self._silent_until:
                    log.warning("sealer: waiting for a server: %s", reason_of(error))
                    self._silent_until = now + SAY_EVERY_SECONDS
                await asyncio.sleep(RETRY_SECONDS)

    async def _key(self) -> SigningKey:
        prefix = f"{self._base}/"
        first = not any(one.startswith(prefix) for one in await self._checkpoints.origins())
        return await asyncio.to_thread(self._load_key, first)

    async def _work(self, key: SigningKey) -> None:
        subscription = await self._nc.subscribe(SEAL_SUBJECT, cb=self._on_request)
        rebuild = False
        try:
            while True:
                sealing = Sealing(
                    feed=self._feed,
                    checkpoints=self._checkpoints,
                    tiles=self._tiles,
                    marks=self._marks,
                    key=key,
                    base=self._base,
                    report=self._report,
                )
                try:
                    await sealing.open(rebuild=rebuild)
                    rebuild = False
                    await self._follow(sealing)
                except (TilesWrong, *_TABLES_GONE):
                    log.warning("sealer: the tiles are not what was signed; building them again")
                    rebuild = True
                except Overtaken:
                    log.warning("sealer: another one was faster; taking up after it")
        finally:
            if not self._nc.is_closed:
                await subscription.unsubscribe()

    async def _follow(self, sealing: Sealing) -> None:
        loop = asyncio.get_running_loop()
        cosign: Cosign | None = None
        if self._witnesses is not None:
            prover = Prover(self._tiles, self._checkpoints, sealing.names)
            cosign = partial(self._witnesses.cosign, prover)
        feed = sealing.follow()
        coming: asyncio.Future[list[RawEvent]] = asyncio.ensure_future(anext(feed))
        asked: list[tuple[Msg, int]] = []
        due = loop.time()
        # Witnesses are asked beside sealing: whoever answers slowly, or never, holds nothing up,
        # nor does a log about which they are still being asked hold up the others.
        asking: set[asyncio.Task[None]] = set()
        known = False
        try:
            while True:
                for ended in [one for one in asking if one.done()]:
                    asking.discard(ended)
                    ended.result()
                    self._metrics.unwitnessed.set(sealing.unwitnessed)
                woken = asyncio.ensure_future(self._wake.wait())
                wait = max(0.0, due - loop.time()) if sealing.dirty else self._every
                any_of: set[asyncio.Future[Any]] = {coming, woken, *asking}
                try:
                    await asyncio.wait(any_of, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    woken.cancel()
                self._wake.clear()
                if self._asked:
                    taken, self._asked = self._asked, []
                    _, head = await self._feed.ends()
                    asked += [(msg, head) for msg in taken]
                if coming.done():
                    try:
                        batch = coming.result()
                    except StopAsyncIteration:
                        return  # to open anew, which compares the stream with what was signed
                    await sealing.apply(batch)
                    coming = asyncio.ensure_future(anext(feed))
                ready = [msg for msg, position in asked if position <= sealing.position]
                if ready or loop.time() >= due:
                    if self._witnesses is not None and not sealing.rebuilding:
                        if loop.time() >= self._renew_at:
                            await sealing.renew()
                            self._renew_at = loop.time() + self._witness_every
                        elif not known:
                            # Whom another sealer, or we before an outage, asked in vain.
                            await sealing.renew(self._witnesses.lacks_one)
                        known = True
                    await sealing.seal()
                    if cosign is None:
                        sealing.ask_nobody()
                    elif sealing.unasked:
                        asking.add(asyncio.create_task(sealing.ask(cosign), name="cosigning"))
                    self._metrics.unwitnessed.set(sealing.unwitnessed)
                    due = loop.time() + self._every
                    self._metrics.log_position.set(sealing.position)
                    asked = [one for one in asked if one[0] not in ready]
                for msg in ready:
                    await msg.respond(msgspec.json.encode(SealAnswer(sealing.position)))
        finally:
            self._asked[:0] = [msg for msg, _ in asked]
            coming.cancel()
            await asyncio.wait([coming])
            # Whoever seals next finds what lacks a witness, and asks again.
            for one in asking:
                one.cancel()
            for error in await asyncio.gather(*asking, return_exceptions=True):
                if isinstance(error, Exception):
                    log.info("sealer: asking witnesses ended: %s", error)
            await feed.aclose()

    async def _on_request(self, msg: Msg) -> None:
        self._asked.append(msg)
        self._wake.set()

    async def _report(self, event: RawEvent, reason: str) -> None:
        """An event that two readers may read as two: it is in the log as it is stored."""
        log.error("event %d: %s", event.position, reason)
        await self._dead_letters.put(
            "sealer",
            subject_bytes(event.subject).decode(errors="replace"),
            event.body,
            field="headers",
            rule=reason,
            tenant_id=None,
            device_id=None,
            headers={},
            dedupe_id=f"sealer.{event.position}",
        )
