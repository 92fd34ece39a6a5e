"""Times and ids on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.jetstream import wire
from adapters.jetstream.batch import in_batch
from adapters.jetstream.delivery import DeliveryDecoder
from adapters.jetstream.places import version_of
from adapters.jetstream.raw import moment_of
from adapters.jetstream.verbatim import Reader
from domain.envelope import Head, Selection
from domain.tlog.leaf import RawEvent
from projections.source import Unreadable
from tests.behaviour.event_store import NOON, failure

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(min_value=0, max_value=2**32 * 10**9))
def test_a_time_stamp_is_cut_to_the_microsecond_and_exact(nanoseconds: int) -> None:
    assert moment_of(nanoseconds) == EPOCH + timedelta(microseconds=nanoseconds // 1000)


@given(
    st.text(min_size=1, max_size=30),
    st.text(min_size=1, max_size=30),
)
def test_ids_of_any_kind_come_back_as_they_were(tenant: str, device: str) -> None:
    subject, headers, body = wire.encode(failure(1, device, tenant), Head(4, 17))
    assert all(" " not in part and part for part in subject.split("."))
    stored = wire.decode(subject, headers, body, 18, NOON)
    assert (stored.tenant_id, stored.device_id, stored.version) == (tenant, device, 5)
    assert Selection(tenant_id=tenant, device_id=device).takes(stored)
    [selected] = wire.selected_subjects(Selection(tenant_id=tenant, device_id=device))
    assert subject.rsplit(".", 1)[0] == selected.rsplit(".", 1)[0]
    assert headers["Nats-Expected-Last-Subject-Sequence"] == "17"
    _, unconditional, _ = wire.encode_next(failure(1, device, tenant), 5)
    assert {*headers} - {*unconditional} == {
        "Nats-Expected-Last-Subject-Sequence",
        "Nats-Expected-Last-Subject-Sequence-Subject",
    }


maybe = st.none() | st.text(min_size=1, max_size=30)


@given(maybe, maybe, maybe, st.booleans(), st.sampled_from([None, False, True]))
def test_what_is_written_is_read_the_fast_way(
    correlation: str | None, cause: str | None, trace: str | None, first: bool, last: bool | None
) -> None:
    event = replace(
        failure(1, "r1", "acme"), correlation_id=correlation, causation_id=cause, traceparent=trace
    )
    subject, headers, body = (
        wire.encode(event, Head(4, 17)) if first else wire.encode_next(event, 5)
    )
    if last is not None:
        headers = in_batch(headers, "b" * 32, 7, last=last)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    stored, fast = DeliveryDecoder().event(subject.encode(), block, body, 18, 0)
    assert stored == wire.decode(subject, headers, body, 18, EPOCH)
    assert fast


@given(st.sampled_from(["9" * 19, "9" * 5000, "-1", "1_0", "one", "٣", ""]), st.booleans())
def test_what_is_no_version_makes_an_event_unreadable_and_breaks_nothing(
    told: str, cut: bool
) -> None:
    subject, headers, body = wire.encode(failure(1, "r1", "acme"), Head(4, 17))
    lines = [f"{name}: {value}" for name, value in (headers | {"ce-sequence": told}).items()]
    block = "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()
    if cut:  # the header is the last there is, and nothing ends it
        block = block[: block.index(b"ce-sequence: ") + len(f"ce-sequence: {told}".encode())]
    assert version_of(block) is None
    event = RawEvent(18, 0, subject, block, body)
    assert isinstance(Reader().read(event), Unreadable)


@given(st.binary(max_size=60))
def test_a_version_is_looked_for_in_any_bytes(block: bytes) -> None:
    version_of(b"NATS/1.0\r\nce-sequence: " + block)
