"""The demo's own judgement: it must see what is not as it must be."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from adapters.cli.up import service
from adapters.demo.check import deviations
from adapters.demo.fleet import SHOWN, TENANT, Broken, fleet
from adapters.demo.player import play, settled
from adapters.embedded.nats import EmbeddedNats
from adapters.settings import Settings
from projections.backups import list_snapshots


@pytest.fixture
def settings(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: object) -> Settings:
    return Settings.model_validate(
        {
            "nats_url": nats_server.url,
            "postgres_dsn": postgres_dsn,
            "data_dir": tmp_path,
            "master_key_file": f"{tmp_path}/master.key",
            "http_port": 0,
        }
    )


async def test_what_is_missing_or_wrong_is_told_each_in_a_line(settings: Settings) -> None:
    made_up = fleet()
    partly = replace(
        made_up,
        deliveries=tuple(
            one
            for one in made_up.deliveries
            if not isinstance(one, Broken)
            and one.device_id != "lab-chr"
            and (one.device_id, one.index) != ("ap-office", 5)
        ),
    )
    async with service(settings) as running:
        system = running.system
        await play(system, partly, lambda _: None)
        await settled(system)
        newest, *_ = await list_snapshots(system.pool, TENANT, SHOWN)
        shown = await system.reading.diff(TENANT, SHOWN, newest.snapshot_id)
        found = await deviations(system, made_up, shown)
        assert "lab-chr: it is not known" in found
        assert "ap-office: snapshots: expected 3, found 2" in found
        assert any(one.startswith("dead letters of the broken message") for one in found)
        assert not [one for one in found if one.startswith(("edge-berlin", "vpn-cologne"))]
        edited = replace(shown, lines_added=shown.lines_added + 1)
        assert any(
            "lines of the difference" in one for one in await deviations(system, made_up, edited)
        )

        # The rest is delivered late: nothing is missing any more.
        await play(system, made_up, lambda _: None)
        await settled(system)
        late = [one for one in await deviations(system, made_up, shown) if "late" not in one]
        assert late == []
