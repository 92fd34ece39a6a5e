"""A bundle that is asked for while the sealer has signed the tenant's log, and not yet the
stream's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.checkpoints import CheckpointStore, StoredNote
from adapters.postgres.pool import open_pool
from adapters.tlog import choosing
from adapters.tlog.bundle import export
from domain.errors import Unavailable
from domain.tlog.names import STREAM_LOG
from tests.bundling import TENANT, exporting, trusted
from tests.integration.test_bundle import Made, unpack
from tests.logs import Story, names, raw_events, seal
from tests.rig import Rig, rig


class Halfway(CheckpointStore):
    """Appends to the stream's log when it is let."""

    def __init__(self, rig: Rig, origin: str) -> None:
        super().__init__(rig.js)
        self._origin = origin
        self.reached, self.let = asyncio.Event(), asyncio.Event()

    async def append(self, origin: str, raw: bytes, *, after: int, position: int = 0) -> int:
        if origin == self._origin:
            self.reached.set()
            await self.let.wait()
        return await super().append(origin, raw, after=after, position=position)


class Asked(CheckpointStore):
    """Tells when a log's last note was asked for the second time."""

    def __init__(self, rig: Rig, again: asyncio.Event) -> None:
        super().__init__(rig.js)
        self._again = again
        self._asked: set[str] = set()

    async def newest(self, origin: str) -> StoredNote | None:
        if origin in self._asked:
            self._again.set()
        self._asked.add(origin)
        return await super().newest(origin)


async def test_it_waits_for_the_end_of_a_round(
    nats_server: EmbeddedNats,
    postgres_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        story = Story(one, seed=3)
        await story.tell(30)
        await seal(one, pool)
        await story.tell(20)
        known = await names(one)
        halfway = Halfway(one, known.origin(STREAM_LOG))
        system = exporting(one, pool)
        keys = trusted(known)

        async def exported(name: str) -> int:
            path = tmp_path / f"{name}.tar.zst"
            done = await export(
                system,
                path,
                tenant_id=TENANT,
                keys=keys,
                since=None,
                until=None,
                shown=None,
            )
            unpack(path, tmp_path / name)
            return done.events

        round_ = asyncio.create_task(seal(replace(one, checkpoints=halfway), pool))
        try:
            await halfway.reached.wait()
            # The sealer does not go on: that is told, after a while.
            with monkeypatch.context() as patched:
                patched.setattr(choosing, "ROUND_SECONDS", 0.0)
                with pytest.raises(Unavailable, match="audit state"):
                    await exported("none")
            system.log.checkpoints = Asked(one, halfway.let)
            count = await exported("whole")
        finally:
            halfway.let.set()
            await round_
        own = [event for event in await raw_events(one) if f".{TENANT}." in event.subject]
        assert count == len(own)
        status, said = Made(tmp_path / "whole" / "bundle", keys, tmp_path).check()
        assert status == 0, said
