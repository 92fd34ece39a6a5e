"""A bundle of logs that grow faster than their witnesses answer."""

from __future__ import annotations

import time
from pathlib import Path

from adapters.crypto.signing import SigningKey
from adapters.embedded.nats import EmbeddedNats
from adapters.postgres.pool import open_pool
from adapters.tlog.bundle import export
from adapters.tlog.choosing import chosen
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.judging import WITNESS_LAG_SECONDS
from domain.tlog.names import STREAM_LOG, cosigned_name, tenant_log
from domain.tlog.note import Note, parse_note
from tests.bundling import TENANT, exporting, trusted
from tests.integration.test_bundle import Made, unpack
from tests.logs import Story, names, sealing, take_in
from tests.rig import rig
from tests.witnessing import NAMES, Party


async def test_it_is_of_what_witnesses_have_cosigned_just_now(
    nats_server: EmbeddedNats, postgres_dsn: str, tmp_path: Path
) -> None:
    party = Party(tmp_path)
    party.now = time.time()
    addresses = ", ".join(f"http://{one.name} {one}" for one in party.verifiers)
    async with rig(nats_server.url) as one, open_pool(postgres_dsn) as pool:
        system = exporting(one, pool, addresses)
        known, log = await names(one), tenant_log(TENANT)
        keys = trusted(known)
        story = Story(one, seed=3)
        work = sealing(one, pool)
        await work.open()

        async def grow() -> None:
            await story.tell(20)
            await take_in(work, one)
            await work.seal()

        await grow()
        cosigned = work.position
        party.before[NAMES[1]] = grow
        await work.ask(await party.cosign(one, pool))
        assert work.position > cosigned
        path = tmp_path / "bundle.tar.zst"
        await export(system, path, tenant_id=TENANT, keys=keys, since=None, until=None, shown=None)
        unpack(path, tmp_path)
        made = Made(tmp_path / "bundle", keys, tmp_path)
        required = [part for key in party.verifiers for part in ("--witness", str(key))]
        status, said = made.check(*required, "--max-age", "600")
        assert status == 0, said
        assert f"{known.origin(STREAM_LOG)} is signed: {cosigned} events" in said
        own, stream = await chosen(system, known, log, keys, (), party.now)
        newest = await one.checkpoints.newest(known.origin(log))
        assert newest is not None
        last = parse_checkpoint(parse_note(newest.raw).text).size
        assert own.checkpoint.size < last
        assert stream.checkpoint.size == cosigned
        # Nothing is left out that its reader has kept, nor where witnesses said nothing for long.
        late = party.now + WITNESS_LAG_SECONDS + 1
        for kept, now in (((newest.raw,), party.now), ((), late)):
            own, stream = await chosen(system, known, log, keys, kept, now)
            assert own.checkpoint.size == last
            assert stream.checkpoint.size == work.position
        # Nor is anything that is old for having been cosigned anew.
        late = int(party.now) + 2 * WITNESS_LAG_SECONDS
        for origin in (known.origin(log), known.origin(STREAM_LOG)):
            under = cosigned_name(origin)
            stored = await one.checkpoints.last(under)
            assert stored is not None
            note = parse_note(stored.raw)
            anew = [
                SigningKey(bytes([number]) * 32).cosign(name, note.text, late)
                for number, name in enumerate(NAMES, 1)
            ]
            raw = str(Note(note.text, (note.signatures[0], *anew))).encode()
            await one.checkpoints.append(
                under, raw, after=stored.sequence, position=stored.position
            )
        own, stream = await chosen(system, known, log, keys, (), late)
        assert own.checkpoint.size == last
        assert stream.checkpoint.size == work.position
        # Nor does what is no checkpoint among what was cosigned keep bundles from being made.
        for origin in (known.origin(log), known.origin(STREAM_LOG)):
            stored = await one.checkpoints.last(cosigned_name(origin))
            assert stored is not None
            after = await one.checkpoints.append(stored.origin, b"nothing", after=stored.sequence)
            await one.checkpoints.append(stored.origin, stored.raw, after=after)
            checkpoint = parse_checkpoint(parse_note(stored.raw).text)
            found = await one.checkpoints.of_size(origin, checkpoint.size)
            assert found is not None
            assert parse_checkpoint(parse_note(found.raw).text) == checkpoint
        again = tmp_path / "again.tar.zst"
        await export(system, again, tenant_id=TENANT, keys=keys, since=None, until=None, shown=None)
