"""Texts that expire or are erased, on the whole program: gone for good, said why, and proven."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import zstandard
from nats.js.errors import NotFoundError

from adapters.composition import System
from adapters.crypto import blob
from adapters.crypto.blob import BlobContext
from adapters.crypto.keys import KeyRing, MasterKey, device_key_id, device_key_name, wrap
from adapters.crypto.signing import SigningKey
from adapters.embedded.nats import EmbeddedNats
from adapters.jetstream.content_store import CONTENT, JetStreamContentStore
from adapters.jetstream.intake import CREATE
from adapters.jetstream.key_store import JetStreamKeyStore
from adapters.jetstream.streams import INTAKE
from adapters.retention.expiring import Judged
from adapters.retention.removing import Remover
from adapters.roles.sealer import SEAL_SUBJECT
from adapters.settings import Settings
from adapters.tlog.bundle import Exported, export
from adapters.tlog.evidence import SystemEvidence
from adapters.tlog.reader import open_reader
from adapters.tlog.reconstruct import as_of
from adapters.tlog.verify import Options, Report, verify
from domain.errors import (
    ContentGone,
    KeyDestroyed,
    MasterKeyUnknown,
    NotFound,
    UnderLegalHold,
)
from domain.events import (
    ContentExpired,
    ContentRef,
    ContentShredded,
    DiffGenerated,
    RetentionPolicy,
    SnapshotCreated,
)
from domain.ids import TENANT_BRANCH
from projections import ALL
from projections.verify import verify as verify_rows
from tests.integration.test_recorder import in_parts, wire
from tests.serving import Api, program, settings_for
from tests.serving import export as text_of
from tests.support import eventually

WHO = {"actor": "user:ann", "reason": "as agreed"}
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=100)
HOME = "/api/tenants/acme/devices"


@pytest.fixture
def settings(nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path) -> Settings:
    return settings_for(nats_server, postgres_dsn, tmp_path, seal_seconds=0.2)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """Routers r1 and r2 with four configurations each, ten days apart."""
    async with program(settings) as running:
        await fill(running)
        yield running


async def fill(api: Api) -> None:
    for number in range(4):
        for name in ("r1", "r2"):
            text = text_of(name, f"192.0.2.{number + 1}")
            moment = START + timedelta(days=10 * number)
            await api.system.intake.publish("acme", name, text, moment)
        await api.settled()


async def ids(api: Api, device: str = "r1") -> list[str]:
    """The device's snapshots, oldest first."""
    found = await api.get(f"{HOME}/{device}/snapshots")
    return [one["id"] for one in reversed(found["items"])]


async def run(system: System) -> dict[str, Judged]:
    async with aclosing(system.keeping.retention.run("acme", datetime.now(UTC))) as judged:
        return {one.device_id: one async for one in judged}


async def verified(system: System) -> Report:
    """What `audit verify` finds, with everything sealed."""
    await system.nc.request(SEAL_SUBJECT, b"", timeout=30)
    key = SigningKey.from_file(system.settings.signing_key_file)
    options = Options(system.settings.log_name, (key.public,))
    return await verify(SystemEvidence.of(system), options)


async def stored(system: System, sequence: int) -> bool:
    try:
        await system.js.get_msg(CONTENT, seq=sequence)
    except NotFoundError:
        return False
    return True


async def publish_unreadable(system: System, device: str, name: str) -> None:
    """An event that only a newer program can read."""
    headers = {"ce-id": "newer", "ce-type": f"configtrail.{name}.v9"}
    await system.js.publish(f"configtrail.acme.{device}.{name}", b"{}", headers=headers)


async def contents(system: System, device: str = "r1") -> list[int]:
    """The sequences of every content that the device's events ever named."""
    found = []
    async with aclosing(system.events.read_branch("acme", device)) as branch:
        async for one in branch:
            match one.event:
                case SnapshotCreated() as event:
                    found.append(event.content.sequence)
                case DiffGenerated() as event:
                    found.append(event.content.sequence)
                    if event.changes_content is not None:
                        found.append(event.changes_content.sequence)
    return found


async def facts(system: System, device: str, *kinds: type) -> list[object]:
    async with aclosing(system.events.read_branch("acme", device)) as branch:
        return [one.event async for one in branch if isinstance(one.event, kinds)]


async def unrecorded(*shown: object) -> None:
    """In place of the record that texts are shown: nobody looks at it here."""


async def bundled(system: System, folder: Path) -> Exported:
    """A bundle of all that there is, with the texts."""
    key = SigningKey.from_file(system.settings.signing_key_file)
    return await export(
        system,
        folder / "b.tar.zst",
        tenant_id="acme",
        keys=(key.verifier("a/b"),),
        since=None,
        until=None,
        shown=unrecorded,
    )


async def test_what_no_policy_keeps_goes_with_its_differences_and_everything_copes(
    api: Api, tmp_path: Path
) -> None:
    system = api.system
    snapshots = await ids(api)
    keeper = system.keeping.keeper
    assert await keeper.set_policy("acme", RetentionPolicy(last=2), **WHO)
    assert not await keeper.set_policy("acme", RetentionPolicy(last=2), **WHO)
    before = await system.events.head()
    async with aclosing(system.keeping.retention.plan("acme", datetime.now(UTC))) as plan:
        planned = {one.device_id: one async for one in plan}
    assert await system.events.head() == before
    reasons = [one.reasons for one in planned["r1"].verdicts]
    assert [bool(one) for one in reasons] == [False, False, True, True]
    assert "the latest complete one of a live device" in reasons[-1]

    named = await contents(system)
    assert all([await stored(system, one) for one in named])
    await run(system)
    expired = await facts(system, "r1", ContentExpired)
    gone = {
        each.content.sequence
        for one in expired
        if isinstance(one, ContentExpired)
        for each in one.contents
    }
    assert [await stored(system, one) for one in named] == [one not in gone for one in named]
    # Two texts, and the two differences that tell of them, each with its words.
    assert len(gone) == 6
    await run(system)
    assert await facts(system, "r1", ContentExpired) == expired

    await api.settled()
    for snapshot in snapshots[:2]:
        problem = await api.problem(f"{HOME}/r1/config/{snapshot}", 410)
        assert problem["code"] == "content_gone"
        assert "expired" in problem["detail"]
        assert "kept are the last 2" in problem["detail"]
    await api.problem(f"{HOME}/r1/config/{snapshots[2]}/diff", 410)
    await api.get(f"{HOME}/r1/config/{snapshots[3]}/diff")
    assert len(await api.get(f"{HOME}/r1/config-history")) == 4
    listed = (await api.get(f"{HOME}/r1/snapshots"))["items"]
    assert [one["text_gone"] for one in listed] == [None, None, "expired", "expired"]

    report = await verified(system)
    assert report.ok, report.findings
    assert (report.gone, report.lingering) == (12, 0)
    for projection in ALL:
        assert (await verify_rows(system.pool, system.source, projection)).differences == ()
    done = await bundled(system, tmp_path)
    assert (done.contents, done.missing) == (6, 8)
    with (
        zstandard.open(tmp_path / "b.tar.zst") as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        names = [one.name for one in tar]
    assert sum("/content/" in one for one in names) == 2 * done.contents
    async with open_reader(system.settings) as reader:
        with pytest.raises(ContentGone, match="expired"):
            await as_of(reader, "acme", "r1", START)
        assert (await as_of(reader, "acme", "r1", None)).text == text_of("r1", "192.0.2.4").encode()


async def test_after_a_crash_between_the_event_and_the_removal_whoever_runs_next_finishes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = api.system
    await system.keeping.keeper.set_policy("acme", RetentionPolicy(last=1), **WHO)
    named = await contents(system)

    async def killed(self: Remover) -> int:
        if await facts(system, "r2", ContentExpired):
            raise asyncio.CancelledError
        return 0

    with monkeypatch.context() as patched:
        patched.setattr(Remover, "finish", killed)
        with pytest.raises(asyncio.CancelledError):
            await run(system)
    assert all([await stored(system, one) for one in named])
    report = await verified(system)
    assert report.ok, report.findings
    assert report.lingering > 0
    await system.keeping.remover.finish()
    assert sum([await stored(system, one) for one in named]) == 1
    report = await verified(system)
    assert (report.ok, report.lingering) == (True, 0)


async def test_texts_whose_key_was_touched_are_an_accusation_until_they_are_erased(
    api: Api, tmp_path: Path
) -> None:
    system = api.system
    store = system.keyring.store
    name = device_key_name("acme", "r1", device_key_id("acme", "r1", 0))
    whole = await store.get(name)
    assert whole is not None
    assert await store.replace(name, whole, whole[:-1] + bytes([whole[-1] ^ 1]))
    system.keyring.forget(name)
    report = await verified(system)
    told = {(one.what, one.kind) for one in report.findings}
    assert told == {("content", "altered")}
    assert len(report.findings) == report.contents / 2
    assert all("damaged or exchanged" in one.detail for one in report.findings)
    done = await bundled(system, tmp_path)
    assert done.altered == done.contents > 0
    await system.keeping.eraser.device("acme", "r1", **WHO)
    report = await verified(system)
    assert report.ok, report.findings
    # What is under a master key that others have says nothing of the text.
    name = device_key_name("acme", "r2", device_key_id("acme", "r2", 0))
    whole = await store.get(name)
    assert whole is not None
    other = wrap(MasterKey.generate(), name, await system.keyring.unwrapped(name, whole))
    assert await store.replace(name, whole, other)
    system.keyring.forget(name)
    with pytest.raises(MasterKeyUnknown):
        await verified(system)


async def test_a_text_that_is_gone_without_an_event_is_an_accusation(api: Api) -> None:
    named = await contents(api.system)
    await api.system.js.delete_msg(CONTENT, named[0])
    report = await verified(api.system)
    assert [(one.what, one.kind) for one in report.findings] == [("content", "missing")]


async def test_under_a_legal_hold_nothing_expires_or_is_erased(api: Api) -> None:
    system = api.system
    keeper, eraser = system.keeping.keeper, system.keeping.eraser
    odd = "core 2/ö'%"
    await system.intake.publish("acme", odd, text_of("odd", "192.0.2.1"), START)
    await api.settled()
    assert await keeper.hold("acme", odd, "odd", **WHO)
    await keeper.release("acme", odd, "odd", **WHO)
    await eraser.device("acme", odd, **WHO)
    await keeper.set_policy("acme", RetentionPolicy(last=1), **WHO)
    assert await keeper.hold("acme", "r1", "case-7", **WHO)
    assert not await keeper.hold("acme", "r1", "case-7", **WHO)
    judged = await run(system)
    assert all("legal hold: as agreed" in one.reasons for one in judged["r1"].verdicts)
    assert await facts(system, "r1", ContentExpired) == []
    assert len(await facts(system, "r2", ContentExpired)) == 3
    for refused in (eraser.device("acme", "r1", **WHO), eraser.tenant("acme", **WHO)):
        with pytest.raises(UnderLegalHold, match="case-7"):
            await refused
    await keeper.hold("acme", None, "audit", **WHO)
    await keeper.release("acme", "r1", "case-7", **WHO)
    with pytest.raises(NotFound):
        await keeper.release("acme", "r1", "case-7", **WHO)
    with pytest.raises(UnderLegalHold, match="audit"):
        await eraser.device("acme", "r1", **WHO)
    await keeper.release("acme", None, "audit", **WHO)
    await run(system)
    assert len(await facts(system, "r1", ContentExpired)) == 3


async def test_an_erased_device_is_unreadable_for_good_and_what_comes_next_is_kept_anew(
    api: Api,
) -> None:
    system = api.system
    snapshots, named = await ids(api), await contents(system)
    name = device_key_name("acme", "r1", device_key_id("acme", "r1", 0))
    store = JetStreamKeyStore(system.js)
    assert await store.get(name) is not None

    await system.keeping.eraser.device("acme", "r1", **WHO)
    with pytest.raises(KeyDestroyed):
        await store.get(name)
    assert not any([await stored(system, one) for one in named])
    await api.settled()
    for snapshot in snapshots:
        problem = await api.problem(f"{HOME}/r1/config/{snapshot}", 410)
        assert "shredded" in problem["detail"]
        await api.get(f"{HOME}/r2/config/{(await ids(api, 'r2'))[0]}")
    report = await verified(system)
    assert report.ok, report.findings
    assert (report.gone, report.lingering) == (10, 0)

    # The same text as the last one: what confirmed it is gone, so it is new.
    text = text_of("r1", "192.0.2.4")
    await system.intake.publish("acme", "r1", text, START + timedelta(days=50))
    await api.settled()
    newest = (await ids(api))[-1]
    assert newest not in snapshots
    shown = await api.get(f"{HOME}/r1/config/{newest}", reveal="true")
    assert shown["config_text"] == text
    # One that comes late finds neighbours that are gone: recorded, and no difference is told.
    late = text_of("r1", "192.0.2.99")
    await system.intake.publish("acme", "r1", late, START + timedelta(days=5))
    await api.settled()
    assert await system.dead_letters.count() == 0
    await system.keeping.eraser.device("acme", "r1", **WHO)
    assert len(await facts(system, "r1", ContentShredded)) == 2
    await api.settled()
    await api.problem(f"{HOME}/r1/config/{newest}", 410)
    assert (await verified(system)).ok
    for projection in ALL:
        assert (await verify_rows(system.pool, system.source, projection)).differences == ()


async def test_of_an_erased_tenant_nothing_is_left_and_nothing_is_taken(api: Api) -> None:
    system = api.system
    broken = msgspec.json.encode(
        {"tenant_id": "acme", "device_id": "r9", "config_text": "secret", "sha256_hash": "0"}
    )
    await system.intake.publish_raw("config.snapshot.create", broken)
    await api.settled()
    assert await system.dead_letters.count() == 1
    await system.keeping.eraser.tenant("acme", **WHO)
    assert await system.dead_letters.count() == 0
    await api.settled()
    for device in ("r1", "r2"):
        for snapshot in await ids(api, device):
            await api.problem(f"{HOME}/{device}/config/{snapshot}", 410)
    fresh = KeyRing(system.keyring.masters, JetStreamKeyStore(system.js))
    with pytest.raises(KeyDestroyed):
        await fresh.tenant("acme")
    # Also a program that still has the tenant's key in memory makes no new ones under it.
    with pytest.raises(KeyDestroyed):
        await JetStreamContentStore(system.js, system.keyring).put("acme", "new", "snapshot", b"x")
    await system.intake.publish(
        "acme", "r1", text_of("r1", "192.0.2.9"), START + timedelta(days=60)
    )
    await api.settled()
    [letter] = await system.dead_letters.list(10)
    assert "erased" in letter.rule
    assert await system.dead_letters.original(letter.sequence) == b""
    # Whatever else is wrong with what comes, its text is not kept either; nor are its parts.
    text = text_of("r1", "192.0.2.10")
    parted = [
        await in_parts(cast("Any", system), text, upload, sha256_hash="0" * 64)
        for upload in ("late", "older")
    ]
    parted[1] = parted[1].replace(b'"2026-', b'"1970-')
    for body in (broken, wire(text, sha256_hash="0" * 64), *parted):
        await system.intake.publish_raw(CREATE, body)
    await api.settled()
    letters = await system.dead_letters.list(10)
    assert [one.tenant_id for one in letters] == ["acme"] * 5
    for one in letters:
        assert "erased" in one.rule
        assert await system.dead_letters.original(one.sequence) == b""
        assert one.size_bytes == 0
    assert (await system.js.stream_info(INTAKE)).state.messages == 0
    report = await verified(system)
    assert report.ok, report.findings
    await system.keeping.eraser.tenant("acme", **WHO)


async def test_a_tenant_whose_keys_nobody_can_open_is_erased_as_any_other(api: Api) -> None:
    system = api.system
    store = system.keyring.store
    name = device_key_name("acme", "r1", device_key_id("acme", "r1", 0))
    tenant = await store.get("acme")
    assert tenant is not None
    keys = await system.keyring.tenant("acme")
    assert await store.replace("acme", tenant, wrap(MasterKey.generate(), "acme", keys))
    system.keyring.forget("acme")
    await system.keeping.eraser.device("acme", "r1", **WHO)
    with pytest.raises(KeyDestroyed):
        await store.get(name)
    await system.keeping.eraser.tenant("acme", **WHO)
    with pytest.raises(KeyDestroyed):
        await store.get("acme")
    told = await facts(system, TENANT_BRANCH, ContentShredded)
    assert [cast("ContentShredded", one).key_ids for one in told] == [(keys.key_id.hex(),)]
    await api.settled()
    for device in ("r1", "r2"):
        for snapshot in await ids(api, device):
            await api.problem(f"{HOME}/{device}/config/{snapshot}", 410)
    report = await verified(system)
    assert report.ok, report.findings


async def test_old_texts_under_the_tenants_key_stay_readable_and_go_when_their_device_is_erased(
    api: Api,
) -> None:
    system = api.system
    keys = await system.keyring.tenant("acme")
    sealed, commitment = blob.seal(keys, BlobContext("acme", "r1", "snapshot"), b"old text")
    ack = await system.js.publish("configtrail-content.acme.r1", sealed)
    ref = ContentRef(sequence=ack.seq, commitment=commitment)
    assert await system.content.get("acme", "r1", "snapshot", ref) == b"old text"
    await system.keeping.eraser.device("acme", "r1", **WHO)
    with pytest.raises(ContentGone, match="shredded"):
        await system.content.get("acme", "r1", "snapshot", ref)


async def test_the_role_carries_policies_out_by_itself(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = settings_for(
        nats_server, postgres_dsn, tmp_path, seal_seconds=0.2, retention_seconds=0.2
    )
    async with program(settings) as api:
        await fill(api)
        await api.system.keeping.keeper.set_policy("acme", RetentionPolicy(last=1), **WHO)
        named = await contents(api.system)

        async def carried_out() -> bool:
            return sum([await stored(api.system, one) for one in named]) == 1

        await eventually(carried_out)
        report = await verified(api.system)
        assert report.ok, report.findings


async def test_texts_of_a_device_that_cannot_be_read_stay_and_the_others_go(api: Api) -> None:
    system = api.system
    await system.keeping.keeper.set_policy("acme", RetentionPolicy(last=1), **WHO)
    await publish_unreadable(system, "r1", "SnapshotCreated")
    async with aclosing(system.keeping.retention.plan("acme", datetime.now(UTC))) as planned:
        assert [one.device_id async for one in planned] == ["r2"]
    assert set(await run(system)) == {"r2"}
