"""What is told of refused requests: no more than so much, and nobody hides what others did."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing

from hypothesis import given
from hypothesis import strategies as st

from adapters.access.refusals import NOBODY, Kind, Refusals, kind_of
from adapters.memory import MemoryEventStore
from domain.access import EVERY_TENANT, Principal, Role, granted
from domain.events import AccessRefused

MOST_OF_ONE, MOST_NAMES, MOST_OF_STRANGERS = 20, 50, 30
MOST_KNOWN = 1_000


def viewer(name: str, tenant: str = "acme") -> Principal:
    return Principal(
        actor=f"service:key/{name}", grants=(granted(tenant, Role.VIEWER),), key_id=name
    )


def stranger(number: int) -> Kind:
    return kind_of(None, "bad_credentials", remote_address=f"192.0.2.{number}")


MINE = kind_of(viewer("mine"), "forbidden", permission="audit", remote_address="198.51.100.1")


async def told(*kinds: Kind) -> list[tuple[str, AccessRefused]]:
    """What is told after these, with the tenant in whose audit trail it stands."""
    events = MemoryEventStore()
    refusals = Refusals(events)
    for kind in kinds:
        refusals.note(kind)
    await refusals.tell()
    async with aclosing(events.read()) as batches:
        found = [
            (one.tenant_id, one.event)
            async for batch in batches
            for one in batch
            if isinstance(one.event, AccessRefused)
        ]
    await refusals.tell()
    assert await events.head() == len(found)  # nothing twice
    return found


def whole(found: list[tuple[str, AccessRefused]]) -> list[tuple[str, str | None, str | None]]:
    """Those of `MINE`."""
    return [
        (tenant, one.permission, one.remote_address)
        for tenant, one in found
        if one.actor == MINE.actor and one.reason == MINE.reason
    ]


TOLD_WHOLE = [("acme", "audit", "198.51.100.1")]


async def test_strangers_hide_nobody_that_is_known() -> None:
    found = await told(*(stranger(number) for number in range(250)), MINE)
    assert whole(found) == TOLD_WHOLE
    assert sum(one.count for _, one in found if one.actor == NOBODY) == 250
    assert len(found) <= MOST_OF_STRANGERS


async def test_one_principals_mix_hides_nothing_of_others_nor_their_own_name() -> None:
    busy = [
        kind_of(viewer("busy"), "other_tenant", permission="read", remote_address=f"192.0.2.{one}")
        for one in range(250)
    ]
    revoked = [
        Kind("acme", NOBODY, "revoked", "old", remote_address=f"192.0.2.{one}", home="acme")
        for one in range(250)
    ]
    found = await told(*busy, *revoked, MINE, stranger(1))
    assert whole(found) == TOLD_WHOLE
    assert sum(one.count for _, one in found if one.actor == "service:key/busy") == 250
    assert sum(one.count for _, one in found if one.key_id == "old") == 250
    assert {tenant for tenant, _ in found} == {"acme", "_system"}
    assert "192.0.2.1" in [one.remote_address for _, one in found if one.key_id is None]
    assert len(found) <= 2 * MOST_OF_ONE + 2


async def test_who_names_tenants_as_they_like_fills_no_log() -> None:
    """Every tenant is known to a principal of all of them, also one that there is not."""
    everywhere = viewer("everywhere", EVERY_TENANT)
    made_up = [
        kind_of(everywhere, "forbidden", tenant=f"t{number}", permission="audit")
        for number in range(250)
    ]
    found = await told(*made_up, MINE)
    assert whole(found) == TOLD_WHOLE
    assert sum(one.count for _, one in found if one.key_id == "everywhere") == 250
    assert len(found) <= MOST_OF_ONE + 1


async def test_many_principals_of_a_tenant_hide_none_of_its_names() -> None:
    many = [
        kind_of(viewer(f"k{number}"), reason, remote_address=f"192.0.2.{address}")
        for number in range(250)
        for reason in ("forbidden", "too_many_requests")
        for address in range(5)
    ]
    found = await told(*many, MINE)
    assert {one.actor for _, one in found} == {one.actor for one in many} | {MINE.actor}
    assert sum(one.count for _, one in found if one.actor == MINE.actor) == 1
    # One event of each and reason, but for those who came first.
    assert len(found) <= 2 * 250 + MOST_NAMES * MOST_OF_ONE + 1


async def test_more_principals_than_a_tenant_can_have_are_told_without_names() -> None:
    many = [kind_of(viewer(f"k{number}"), "forbidden") for number in range(2 * MOST_KNOWN)]
    found = await told(*many)
    assert sum(one.count for _, one in found) == len(many)
    assert len(found) <= MOST_KNOWN + 1
    assert [one.actor for tenant, one in found if tenant != "acme"] == []


async def test_guests_are_told_without_names_in_no_tenants_trail() -> None:
    many = [kind_of(viewer(f"k{number}"), "forbidden") for number in range(30)]
    theirs = kind_of(viewer("theirs", "other"), "forbidden")
    administrator = kind_of(viewer("all", EVERY_TENANT), "forbidden")
    # Whom an identity provider knows and nothing is granted to.
    guests = [kind_of(Principal(actor=f"user:{one}"), "other_tenant") for one in range(250)]
    found = await told(MINE, *guests, *many, theirs, administrator, stranger(1))
    named = {one.actor for _, one in found}
    assert {MINE.actor, theirs.actor, administrator.actor} <= named
    counts: Counter[str] = Counter()
    for tenant, one in found:
        counts[tenant] += one.count
    assert counts == {"acme": 31, "other": 1, "_system": 252}
    assert len(found) <= 2 * (MOST_NAMES + 1) + 3
    assert "192.0.2.1" in [one.remote_address for _, one in found]


people = st.one_of(
    st.none(),
    st.builds(viewer, st.sampled_from("abc"), st.sampled_from(["acme", "other", EVERY_TENANT])),
    st.integers(0, 60).map(lambda one: viewer(f"k{one}")),
    st.integers(0, 60).map(lambda one: Principal(actor=f"user:{one}")),
)
kinds = st.builds(
    kind_of,
    people,
    st.sampled_from(["forbidden", "other_tenant", "too_many_requests"]),
    tenant=st.sampled_from([None, "acme", "other"]),
    permission=st.sampled_from([None, "read", "audit", "keys"]),
    remote_address=st.integers(0, 9).map(lambda one: f"192.0.2.{one}"),
)


@given(st.lists(kinds, max_size=300))
async def test_every_refusal_is_counted_once_whoever_was_refused(given_ones: list[Kind]) -> None:
    found = await told(*given_ones)
    assert Counter(
        {
            reason: sum(one.count for _, one in found if one.reason == reason)
            for reason in {one.reason for one in given_ones}
        }
    ) == Counter(one.reason for one in given_ones)
    each = Counter((one.actor, one.key_id) for _, one in found)
    assert all(count <= MOST_OF_STRANGERS * 3 for count in each.values())
