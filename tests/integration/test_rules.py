"""New rules of comparing and a history under older ones, on a real nats-server."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from adapters.embedded.nats import EmbeddedNats
from adapters.roles.recanonicaliser import Recanonicalised, Recanonicaliser
from domain.canonical import text_under
from domain.decisions import created
from domain.device import IsNew
from domain.events import DuplicateSkipped, SnapshotCreated, SnapshotRecanonicalised
from domain.ids import canonical_fingerprint, observation_id, text_fingerprint
from domain.observation import Observation
from tests.rig import Rig, rig

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = "# 2026-03-01 by RouterOS 7.14\n/ip pool\nadd name=a\nadd name=b\n"
REORDERED = "# 2026-03-02 by RouterOS 7.14\n/ip pool\nadd name=b\nadd name=a\n"
SECOND = FIRST + "add name=c\n"


async def recorded_under_older_rules(connected: Rig, text: str, hour: int, rules: str) -> None:
    """What a program of before would have recorded of a text."""
    key = (await connected.keyring.tenant("acme")).fingerprint_key
    moment = NOON + timedelta(hours=hour)
    digest = hashlib.sha256(text.encode()).hexdigest()
    canonical = text_under(rules, text) or f"the text under {rules}"
    observation = Observation(
        observation_id=observation_id(key, "acme", "r1", moment, digest),
        tenant_id="acme",
        device_id="r1",
        collected_at=moment,
        fingerprint=canonical_fingerprint(key, rules, canonical),
        text_fingerprint=text_fingerprint(key, digest),
        canonical=rules,
        size_bytes=len(text),
        line_count=4,
        platform="routeros",
        os_version="7.14",
        source="scheduled",
        completeness="complete",
    )
    state = await connected.devices.refresh("acme", "r1")
    content = await connected.content.put("acme", "r1", "snapshot", text.encode())
    await connected.devices.append(created(observation, IsNew(state.current, None), content), state)


async def read(connected: Rig, *texts: tuple[str, int]) -> list[object]:
    """Record readings, and return all events of the device."""
    async with connected.recording():
        for text, hour in texts:
            await connected.intake.publish("acme", "r1", text, NOON + timedelta(hours=hour))
        await connected.intake_empty()
    return [stored.event for stored in await connected.history("acme", "r1")]


def recanonicaliser(connected: Rig) -> Recanonicaliser:
    return Recanonicaliser(
        events=connected.events,
        devices=connected.devices,
        content=connected.content,
        keyring=connected.keyring,
    )


async def test_what_did_not_change_is_no_change_after_the_rules_did(connected: Rig) -> None:
    await recorded_under_older_rules(connected, FIRST, 0, "routeros/1")
    events = await read(connected, (FIRST.replace("03-01", "03-05"), 2), (FIRST, 1))
    assert [type(one) for one in events] == [SnapshotCreated, DuplicateSkipped, DuplicateSkipped]


async def test_a_change_is_a_change_after_the_rules_did(connected: Rig) -> None:
    await recorded_under_older_rules(connected, FIRST, 0, "routeros/1")
    events = await read(connected, (SECOND, 1), (SECOND, 2))
    assert [type(one) for one in events] == [SnapshotCreated, SnapshotCreated, DuplicateSkipped]
    assert [one.canonical for one in events[:2]] == ["routeros/1", "routeros/4"]  # type: ignore[attr-defined]


async def test_what_is_recorded_under_unknown_rules_is_recorded_anew(connected: Rig) -> None:
    await recorded_under_older_rules(connected, FIRST, 0, "routeros/99")
    events = await read(connected, (FIRST, 1))
    assert [type(one) for one in events] == [SnapshotCreated, SnapshotCreated]


async def test_a_forgotten_platform_is_put_right_by_a_reading_that_names_it(connected: Rig) -> None:
    text = "hostname a\nsnmp-server community geheim RO\nend\n"
    await read(connected, (text, 0))
    async with connected.recording():
        for hour in (1, 2):
            moment = NOON + timedelta(hours=hour)
            await connected.intake.publish("acme", "r1", text, moment, platform="ios")
        await connected.intake_empty()
    events = [stored.event for stored in await connected.history("acme", "r1")]
    assert [type(one) for one in events] == [SnapshotCreated, SnapshotCreated, DuplicateSkipped]
    assert [one.platform for one in events[:2]] == ["text", "ios"]  # type: ignore[union-attr]


async def test_recanonicalised_history_is_compared_by_the_new_rules(connected: Rig) -> None:
    await recorded_under_older_rules(connected, FIRST, 0, "routeros/1")
    await recorded_under_older_rules(connected, SECOND, 2, "routeros/1")
    before = await connected.history("acme", "r1")
    done = await recanonicaliser(connected).device("acme", "r1", actor="user:ada")
    assert done == Recanonicalised(snapshots=2, renewed=2)
    history = await connected.history("acme", "r1")
    assert history[:2] == before
    told = [one.event for one in history[2:]]
    assert all(isinstance(one, SnapshotRecanonicalised) for one in told)
    assert {one.actor for one in told} == {"user:ada"}
    # Only the order is another one, of the newest and of an older configuration.
    late = REORDERED.replace("03-02", "03-03")
    events = await read(connected, (f"{REORDERED}add name=c\n", 3), (late, 1))
    assert [type(one) for one in events[4:]] == [DuplicateSkipped, DuplicateSkipped]


async def test_recanonicalising_again_finds_nothing_to_do(connected: Rig) -> None:
    await recorded_under_older_rules(connected, FIRST, 0, "routeros/1")
    work = recanonicaliser(connected)
    dry = await work.device("acme", "r1", actor="user:ada", dry_run=True)
    assert (dry.renewed, len(await connected.history("acme", "r1"))) == (1, 1)
    await work.device("acme", "r1", actor="user:ada")
    again = await work.device("acme", "r1", actor="user:ada")
    assert again == Recanonicalised(snapshots=1, already=1)
    assert len(await connected.history("acme", "r1")) == 2


async def test_snapshots_that_are_alike_now_are_counted_and_stay(connected: Rig) -> None:
    await recorded_under_older_rules(connected, FIRST, 0, "routeros/1")
    await recorded_under_older_rules(connected, REORDERED, 1, "routeros/1")
    done = await recanonicaliser(connected).device("acme", "r1", actor="user:ada")
    assert done == Recanonicalised(snapshots=2, renewed=2, alike=1)
    created_ones = [
        one.event
        for one in await connected.history("acme", "r1")
        if isinstance(one.event, SnapshotCreated)
    ]
    assert len(created_ones) == 2


async def test_recanonicalising_beside_a_recorder_loses_nothing(
    connected: Rig, nats_server: EmbeddedNats
) -> None:
    await recorded_under_older_rules(connected, FIRST, 0, "routeros/1")
    async with rig(nats_server.url) as other:
        # Its state is one event behind: appending conflicts, and is decided again.
        stale = await other.devices.refresh("acme", "r1")
        await read(connected, (SECOND, 1))
        assert (await other.devices.load("acme", "r1")) == stale
        done = await recanonicaliser(other).device("acme", "r1", actor="user:ada")
    assert done == Recanonicalised(snapshots=2, renewed=1, already=1)
    assert len(await connected.history("acme", "r1")) == 3
