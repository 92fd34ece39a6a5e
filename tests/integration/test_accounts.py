"""Tenants in NATS accounts of their own, on a real server with the configuration that is shipped:
what each user can do, and that nobody gets at another tenant's events."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig

from adapters.accounts.configuration import user_of
from adapters.accounts.folder import AccountsFolder
from adapters.accounts.mirror import ensure_mirror, mirror_config
from adapters.embedded.nats import nats_server_binary
from adapters.jetstream.address import as_user
from adapters.jetstream.checkpoints import CHECKPOINTS
from adapters.jetstream.connection import connect
from adapters.jetstream.content_store import CONTENT
from adapters.jetstream.dead_letters import DEAD_LETTERS
from adapters.jetstream.intake import CREATE
from adapters.jetstream.key_store import BUCKET as KEYS
from adapters.jetstream.streams import EVENTS, INTAKE
from adapters.roles.trigger import SUBJECT
from domain.errors import AccessRefused, InvalidInput, Unavailable
from domain.ids import to_token
from tests.rig import Rig, rig
from tests.support import eventually

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANTS = ("acme", "mallory.inc")
SERVICE, ADMIN = "n0service", "n0admin"


@dataclass
class Deployment:
    """A server with the shipped configuration."""

    port: int
    authority: Path
    folder: Path
    accounts: AccountsFolder

    def url(self, user: str, password: str, *, ca: bool = True) -> str:
        trusted = f"?ca={self.authority}" if ca else ""
        return f"tls://{user}:{password}@127.0.0.1:{self.port}{trusted}"

    @property
    def service(self) -> str:
        return self.url("configtrail", SERVICE)

    def of(self, tenant: str, kind: str) -> str:
        found = self.accounts.of(tenant)
        return as_user(self.service, user_of(tenant, kind), getattr(found, kind))

    @asynccontextmanager
    async def client(self, url: str) -> AsyncIterator[Client]:
        nc = await connect(url, name="test", within=20)
        try:
            yield nc
        finally:
            await nc.close()


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    tls = tmp_path / "tls"
    make = ROOT / "deploy/make_certificates.py"
    await asyncio.to_thread(subprocess.run, [sys.executable, str(make), str(tls)], check=True)
    accounts = AccountsFolder(tmp_path / "nats")
    accounts.add(list(TENANTS))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = (ROOT / "deploy/nats/nats.conf").read_text()
    for shipped, here in (
        ('"0.0.0.0:4222"', f'"127.0.0.1:{port}"'),
        ('http: "127.0.0.1:8222"', ""),
        ("/data", str(tmp_path / "data")),
        ("/tls/", f"{tls}/"),
    ):
        assert shipped in config
        config = config.replace(shipped, here)
    path = tmp_path / "nats/nats.conf"
    path.write_text(config)
    environment = {
        "CONFIGTRAIL_NATS_PASSWORD": SERVICE,
        "CONFIGTRAIL_NATS_ADMIN_PASSWORD": ADMIN,
        "CONFIGTRAIL_JETSTREAM_KEY": "k0123456789abcdef",
    }
    with (tmp_path / "log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            nats_server_binary(), "-c", path, env={**os.environ, **environment}, stderr=log
        )
    try:
        yield Deployment(port, tls / "ca.crt", tmp_path / "nats", accounts)
    finally:
        server.terminate()
        await server.wait()


@pytest.fixture
async def parts(deployment: Deployment) -> AsyncIterator[Rig]:
    """The program's own parts, as the service's user with all that it is denied."""
    async with rig(deployment.service) as connected:
        yield connected


def reading(tenant: str, device: str, address: str) -> bytes:
    text = f"# by RouterOS 7.14\n/ip address\nadd address={address}/24 interface=ether1\n"
    message = {
        "tenant_id": tenant,
        "device_id": device,
        "config_text": text,
        "sha256_hash": hashlib.sha256(text.encode()).hexdigest(),
        "collected_at": NOON.isoformat(),
        "normalization_version": 1,
    }
    return json.dumps(message).encode()


async def send(deployment: Deployment, tenant: str, body: bytes) -> None:
    async with deployment.client(deployment.of(tenant, "poller")) as poller:
        await poller.jetstream().publish(CREATE, body, stream=INTAKE)


async def mirrored(deployment: Deployment, tenant: str, count: int) -> None:
    async with deployment.client(deployment.of(tenant, "keeper")) as keeper:
        js = keeper.jetstream()
        assert await ensure_mirror(js, tenant)
        assert not await ensure_mirror(js, tenant), "it is there"

        async def arrived() -> bool:
            return (await js.stream_info(EVENTS)).state.messages == count

        await eventually(arrived)


async def pulled(js: JetStreamContext, count: int) -> list[Msg]:
    config = ConsumerConfig(inactive_threshold=60)
    pull = await js.pull_subscribe("", durable="replay", stream=EVENTS, config=config)
    return await pull.fetch(count, timeout=20)


async def test_a_tenant_sends_and_replays_its_own_and_nobody_elses(
    deployment: Deployment, parts: Rig
) -> None:
    async with parts.recording():
        for number in range(3):
            for tenant in TENANTS:
                await send(deployment, tenant, reading(tenant, f"r{number}", f"192.0.2.{number}"))
        await parts.intake_empty()
    for tenant in TENANTS:
        await mirrored(deployment, tenant, 3)
        async with deployment.client(deployment.of(tenant, "reader")) as reader:
            js = reader.jetstream()
            messages = await pulled(js, 3)
            assert len(messages) == 3
            for msg in messages:
                assert msg.subject.startswith(f"configtrail.{to_token(tenant)}.")
                await msg.ack()
                original = await parts.js.get_msg(EVENTS, msg.metadata.sequence.stream)
                assert (msg.subject, msg.data) == (original.subject, original.data)
                # A mirror leaves out the conditions that a message was stored under.
                headers = original.headers or {}
                kept = {name: headers[name] for name in headers if "Expected" not in name}
                assert msg.headers == kept
            # Later facts follow by themselves.
            count = (await js.stream_info(EVENTS)).state.messages
    async with parts.recording():
        await send(deployment, "acme", reading("acme", "r9", "192.0.2.9"))
        await parts.intake_empty()
    async with deployment.client(deployment.of("acme", "reader")) as reader:
        js = reader.jetstream()

        async def followed() -> bool:
            return (await js.stream_info(EVENTS)).state.messages == count + 1

        await eventually(followed)


async def test_what_a_poller_sends_for_another_tenant_is_refused_as_its_own(
    deployment: Deployment, parts: Rig
) -> None:
    async with parts.recording():
        await send(deployment, "mallory.inc", reading("acme", "r1", "192.0.2.1"))
        await parts.intake_empty()
    assert await parts.history("acme", "r1") == []
    [letter] = await parts.dead_letters.list(10)
    assert (letter.tenant_id, letter.field) == ("mallory.inc", "tenant_id")


async def test_backups_are_asked_of_the_tenants_own_poller(
    deployment: Deployment, parts: Rig
) -> None:
    async def answer(msg: Msg) -> None:
        await msg.respond(b"mallory's")

    async with deployment.client(deployment.of("mallory.inc", "poller")) as poller:
        await poller.subscribe(SUBJECT, cb=answer)
        await poller.flush()
        said = await parts.nc.request(f"{SUBJECT}.mallory=2Einc", b"{}", timeout=10)
        assert said.data == b"mallory's"
        with pytest.raises(nats.errors.NoRespondersError):
            await parts.nc.request(f"{SUBJECT}.acme", b"{}", timeout=10)


LOGS = (EVENTS, CONTENT, INTAKE, DEAD_LETTERS, CHECKPOINTS, f"KV_{KEYS}")
CHANGES = (
    *("UPDATE", "PURGE", "SNAPSHOT", "RESTORE", "MSG.DELETE", "DELETE"),
    *("LEADER.STEPDOWN", "PEER.REMOVE"),
)


async def test_what_tenants_may_not(deployment: Deployment, parts: Rig) -> None:
    """Each user against the whole of the JetStream API that could read, change or remove."""
    await parts.js.publish("configtrail.acme.r1", b"acme's")
    await mirrored(deployment, "acme", 1)
    await mirrored(deployment, "mallory.inc", 0)
    subject_of = f"$JS.API.CONSUMER.CREATE.{EVENTS}.x.configtrail.acme.>"
    foreign = [
        *(f"$JS.API.STREAM.{act}.{stream}" for act in CHANGES for stream in LOGS),
        *(
            f"$JS.API.{act}.{stream}{rest}"
            for stream in LOGS[1:]
            for act, rest in (
                ("STREAM.INFO", ""),
                ("STREAM.MSG.GET", ""),
                ("DIRECT.GET", ""),
                ("DIRECT.GET", ".configtrail.acme.r1"),
                ("CONSUMER.CREATE", ".x"),
                ("CONSUMER.DURABLE.CREATE", ".x"),
                ("CONSUMER.LIST", ""),
                ("CONSUMER.DELETE", ".recorder"),
                ("CONSUMER.MSG.NEXT", ".recorder"),
            )
        ),
        "CONFIGTRAIL.API." + subject_of.removeprefix("$JS.API."),
        f"CONFIGTRAIL.API.CONSUMER.CREATE.{EVENTS}.x.configtrail.mallory=2Einc.>",
        f"CONFIGTRAIL.API.CONSUMER.CREATE.{EVENTS}.x",
        f"$JS.ACK.{INTAKE}.recorder.1.1.1.1.0",
        "configtrail.acme.r1",
        "configtrail.mallory=2Einc.r1",
        "configtrail-content.acme.r1",
        "configtrail-checkpoints.x",
        "$KV.CONFIGTRAIL_KEYS.acme",
        f"{CREATE}.acme",
        "$JS.API.STREAM.CREATE.OTHER",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.NAMES",
        "$SYS.REQ.SERVER.PING",
    ]
    # Of its own mirror, which it makes, the keeper may know and remove.
    own = {f"$JS.API.STREAM.DELETE.{EVENTS}"}
    for kind in ("poller", "reader", "keeper"):
        async with deployment.client(deployment.of("mallory.inc", kind)) as client:
            for subject in foreign:
                if kind != "keeper" or subject not in own:
                    await refused(client, subject)
    # What the reader may ask, it asks of its own mirror: there is nothing of the others in it.
    async with deployment.client(deployment.of("mallory.inc", "reader")) as client:
        js = client.jetstream()
        assert (await js.stream_info(EVENTS)).state.messages == 0
        with pytest.raises(nats.js.errors.NotFoundError):
            await js.get_last_msg(EVENTS, "configtrail.acme.r1")
        asked = {"stream_name": EVENTS, "config": {"filter_subject": "configtrail.acme.>"}}
        made = json.loads((await client.request(subject_of, json.dumps(asked).encode())).data)
        assert made.get("num_pending", 0) == 0


async def test_no_one_pulls_from_a_consumer_of_somebody_else(
    deployment: Deployment, parts: Rig
) -> None:
    """Of the service's consumers of the log, and of another tenant's: in one account this would
    give out everything."""
    await parts.js.publish("configtrail.acme.r1", b"acme's")
    await parts.js.add_consumer(EVENTS, ConsumerConfig(durable_name="service"))
    for tenant in TENANTS:
        await mirrored(deployment, tenant, int(tenant == "acme"))
    async with deployment.client(deployment.of("acme", "reader")) as theirs:
        await theirs.jetstream().add_consumer(EVENTS, ConsumerConfig(durable_name="acmes"))
    async with deployment.client(deployment.of("mallory.inc", "reader")) as client:
        for name in ("service", "acmes"):
            with pytest.raises(nats.errors.NoRespondersError):
                await client.request(f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{name}", b"1")
    info = await parts.js.consumer_info(EVENTS, "service")
    assert (info.num_pending, info.num_ack_pending) == (1, 0), "nobody took it"


async def test_a_mirror_gets_nothing_of_another_tenant(deployment: Deployment, parts: Rig) -> None:
    """Its keeper may make it of whatever it names; the log is asked for the tenant's own only."""
    await parts.js.publish("configtrail.acme.r1", b"acme's")
    own = mirror_config("mallory.inc")
    assert own.mirror is not None
    for wanted in ("configtrail.acme.>", "configtrail.>", None):
        async with deployment.client(deployment.of("mallory.inc", "keeper")) as keeper:
            js = keeper.jetstream()
            await js.add_stream(own.evolve(mirror=own.mirror.evolve(filter_subject=wanted)))
            # One that is made later, of whom it is, has it all.
            await mirrored(deployment, "acme", 1)
            assert (await js.stream_info(EVENTS)).state.messages == 0
            await js.delete_stream(EVENTS)
        async with deployment.client(deployment.of("acme", "keeper")) as keeper:
            await keeper.jetstream().delete_stream(EVENTS)


async def refused(client: Client, subject: str) -> None:
    """The server refuses the publication: nobody gets it."""
    errors: list[Exception] = []

    async def remember(error: Exception) -> None:
        errors.append(error)

    client._error_cb = remember
    await client.publish(subject, b"{}")
    await client.flush()
    await eventually(lambda: errors)
    assert "permissions violation" in str(errors[0]).lower(), subject


async def test_the_service_can_not_remove_facts_and_an_administrator_can(
    deployment: Deployment, parts: Rig
) -> None:
    await parts.js.publish("configtrail.acme.r1", b"a fact")
    kept = [log for log in LOGS if log != INTAKE]
    for subject in (
        *(
            f"$JS.API.STREAM.{act}.{log}"
            for act in ("DELETE", "RESTORE", "SNAPSHOT")
            for log in LOGS
        ),
        *(f"$JS.API.STREAM.{act}.{log}" for act in ("PURGE", "UPDATE") for log in kept),
        *(f"$JS.API.STREAM.MSG.DELETE.{log}" for log in (EVENTS, CHECKPOINTS)),
    ):
        await refused(parts.nc, subject)
    assert (await parts.js.stream_info(EVENTS)).state.messages == 1
    async with deployment.client(deployment.url("admin", ADMIN)) as admin:
        live = (await admin.jetstream().stream_info(EVENTS)).config
        assert isinstance(live, StreamConfig)
        await admin.jetstream().update_stream(live)


async def test_without_trust_in_the_certificate_there_is_no_connection(
    deployment: Deployment,
) -> None:
    with pytest.raises(Unavailable, match="certificate is not trusted"):
        await connect(deployment.url("configtrail", SERVICE, ca=False), name="test", within=3)
    with pytest.raises(AccessRefused):
        await connect(deployment.url("configtrail", "wrong"), name="test", within=20)


async def test_the_commands_give_show_and_mirror_an_account(
    deployment: Deployment, parts: Rig
) -> None:
    folder = str(deployment.folder)

    async def run(*words: str) -> tuple[int | None, str]:
        program = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("configtrail"),
            *("accounts", *words, "--folder", folder),
            env={**os.environ, "CONFIGTRAIL_NATS_URL": deployment.service},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await program.communicate()
        return program.returncode, said.decode()

    assert (await run("add", "new"))[0] == 0
    assert await run() == (0, "acme\nmallory.inc\nnew\n")
    status, shown = await run("show", "acme", "reader")
    assert (status, "_INBOX_acme.reader" in shown) == (0, True)
    assert (await run("mirror", "acme")) == (0, "made\n")
    assert (await run("mirror", "acme")) == (0, "it is there\n")
    assert (await run("show", "nobody", "reader"))[0] == 1
    assert (await run("remove", "new"))[0] == 0


def test_an_account_keeps_its_passwords(tmp_path: Path) -> None:
    folder = AccountsFolder(tmp_path)
    assert folder.add(["b", "a"]) == ["a", "b"]
    before = folder.tenants()
    assert folder.add(["a", "c"]) == ["c"]
    assert folder.tenants()[:2] == before
    folder.remove("b")
    assert [one.tenant_id for one in folder.tenants()] == ["a", "c"]
    assert "TENANT_b" not in (tmp_path / "accounts.conf").read_text()
    for name in ("accounts.conf", "accounts.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInput):
        folder.remove("b")
    (tmp_path / "accounts.json").write_text("[")
    with pytest.raises(InvalidInput, match="can't be read"):
        folder.add(["d"])
