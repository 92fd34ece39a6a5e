"""`trigger --wait` and `import --wait` where a read model can't take in an event: what is promised,
and what is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from adapters.cli import program, session
from adapters.cli.backup import trigger
from adapters.cli.importing import import_folder
from adapters.embedded.nats import EmbeddedNats
from adapters.roles.trigger import SUBJECT
from adapters.settings import Settings
from domain.errors import EventsParked, Unavailable
from domain.events import ManualBackupFinished
from projections import ALL, AUDIT, stops
from projections.checkpoints import checkpoints
from tests.serving import NOON, TEXTS, Api


@pytest.fixture
async def with_a_parked_event(api: Api) -> Api:
    """Two devices with a snapshot each, of which `audit` lacks that of r1, and a collector."""
    for device, text in (("r1", TEXTS[0]), ("r2", TEXTS[2])):
        await api.system.intake.publish("acme", device, text, NOON)
    await api.settled()
    await api.system.pool.execute(
        "INSERT INTO configtrail.parked SELECT 'audit', position, tenant_id, device_id, event_id,"
        " 'SnapshotCreated', 'ValueError' FROM configtrail.audit"
        " WHERE device_id = 'r1' AND action = 'config_snapshot_created'"
    )

    async def on_request(msg: Msg) -> None:
        asked = json.loads(msg.data)
        await api.system.intake.publish(
            "acme",
            asked["device_id"],
            TEXTS[1],
            datetime.now(UTC),
            trigger_id=asked["trigger_id"],
        )
        await msg.respond(json.dumps({"status": "success", "message": "read"}).encode())

    await api.system.nc.subscribe(SUBJECT, cb=on_request)
    return api


async def test_a_manual_backup_that_some_read_model_will_not_show_says_so_and_is_made(
    with_a_parked_event: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    system = with_a_parked_event.system
    settings = system.settings.model_copy(update={"tenant": "acme"})
    with pytest.raises(EventsParked, match="not in audit until an operator") as parked:
        await trigger(settings, device="r1", wait=True)
    # How the backup ended is shown first. Then the status is 1, and this says what to do.
    assert capsys.readouterr().out.startswith("succeeded: ")
    told, status = program.explain(parked.value)
    assert (status, "configtrail projections parked" in told) == (1, True)
    history = system.events.read_branch("acme", "r1")
    ends = [one.event async for one in history if isinstance(one.event, ManualBackupFinished)]
    assert [one.outcome for one in ends] == ["succeeded"]
    # Without --wait nothing is promised, and for a device without parked events all is kept.
    assert await trigger(settings, device="r1") == 0
    assert await trigger(settings, device="r2", wait=True, as_json=True) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["outcome"] in ("succeeded", "duplicate")


async def test_an_import_says_which_read_models_lack_something_and_keeps_its_document_clean(
    with_a_parked_event: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_a_parked_event.system.settings.model_copy(update={"tenant": "acme"})
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "r3.rsc").write_text(TEXTS[0])
    assert await import_folder(settings, path=tmp_path / "exports", as_json=True) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["created"] == 1
    assert "parked events are not in audit: configtrail projections parked" in " ".join(
        told.err.split()
    )
    done = await import_folder(settings, path=tmp_path / "exports", as_json=True, wait=False)
    told = capsys.readouterr()
    assert (done, json.loads(told.out)["known"]) == (0, 1)
    assert "parked" not in told.err


async def test_who_waits_for_a_read_model_that_stands_still_is_told_why_it_does(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = api.system
    await system.intake.publish("acme", "r1", TEXTS[0], NOON)
    head = await api.settled()
    at = {one.projection: one.position for one in (await checkpoints(system.pool)).values()}
    await stops.tell(system.pool, AUDIT, at["audit"], "an event, say")
    monkeypatch.setattr(session, "STOPPED_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="audit does not answer: an event, say"):
        await session.projected(system, head + 1, 300)
    # Where that is what is asked about, it is as far as it gets.
    for projection in ALL:
        await stops.tell(system.pool, projection, at[projection.name], "an event, say")
    await session.projected(system, head + 1, 300, or_stopped=True)


@pytest.mark.parametrize("silent", ["NATS", "Postgres"])
async def test_of_two_servers_the_one_that_stands_still_is_named(
    silent: str, nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    async with silence() as port:
        nats = f"nats://127.0.0.1:{port}" if silent == "NATS" else nats_server.url
        postgres = f"postgresql://u:p@127.0.0.1:{port}/d?sslmode=disable"
        settings = Settings(
            nats_url=SecretStr(nats),
            postgres_dsn=SecretStr(postgres if silent == "Postgres" else postgres_dsn),
            data_dir=tmp_path,
            connect_seconds=1,
        )
        with pytest.raises(Unavailable, match=f"^{silent} does not answer: no connection within 1"):
            async with session.session(settings, session.Need.NOTHING):
                pass


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """A port that takes connections and says nothing, as that of a process that is stopped."""
    ended = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        ended.set()
