"""Every root that was signed over a history holds, and no other, whosever events it begins with."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from domain.tlog.findings import Claim
from domain.tlog.leaf import RawEvent, hash_of
from domain.tlog.merkle import root_of
from domain.tlog.names import STREAM_LOG, tenant_log
from domain.tlog.verification import StreamCheck

# None: a subject that names no tenant.
OWNERS = st.sampled_from(["a", "b", None])
HISTORIES = st.builds(
    lambda first, count, rest: [first] * count + rest,
    OWNERS,
    st.integers(0, 20),
    st.lists(OWNERS, max_size=20),
)


@given(HISTORIES, st.lists(st.integers(1, 9)), st.data())
@example(["a"] * 5 + ["b", "a"], [3, 3], None)
def test_what_was_signed_of_each_log_is_found_to_hold(
    owners: list[str | None], cuts: list[int], data: st.DataObject | None
) -> None:
    events = [
        RawEvent(at, at, "strange" if owner is None else f"configtrail.{owner}.r1.X", b"", b"")
        for at, owner in enumerate(owners, 1)
    ]
    leaves = {STREAM_LOG: [hash_of("S", one) for one in events]}
    for event, owner in zip(events, owners, strict=True):
        if owner is not None:
            leaves.setdefault(tenant_log(owner), []).append(hash_of("S", event))
    true = {
        (log, size): root_of(hashes[:size])
        for log, hashes in leaves.items()
        for size in range(1, len(hashes) + 1)
    }
    places = sorted(true)
    signed = (
        places
        if data is None
        else data.draw(st.lists(st.sampled_from(places), unique=True))
        if places
        else []
    )
    forged = set() if data is None or not signed else data.draw(st.sets(st.sampled_from(signed)))
    claims = [
        Claim(log, size, bytes(32) if (log, size) in forged else true[log, size], number)
        for number, (log, size) in enumerate(signed, 1)
    ]
    check = StreamCheck("S", claims)
    rest = events
    for cut in cuts:
        check.feed(rest[:cut])
        rest = rest[cut:]
    check.feed(rest)
    suspect = check.finish(len(events))
    good = {log for log, _ in set(signed) - forged}
    assert check.logs == len(good)
    wrong = {(one.log, one.size) for one in suspect.claims} if suspect else set()
    if suspect is None:
        assert {one.position for one in check.findings} == {
            one.sequence for one in claims if (one.log, one.size) in forged
        }
    assert wrong == {
        (log, size) for log, size in forged if log == STREAM_LOG and size > check.matched
    }
