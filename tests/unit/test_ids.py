"""Identifiers: the rules for those from outside, tokens that can be read back, keyed digests."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.ids import (
    canonical_fingerprint,
    check_device_id,
    check_tenant_id,
    from_token,
    keyed_digest,
    observation_id,
    snapshot_id,
    text_fingerprint,
    to_token,
)

KEY = b"k" * 32
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize("tenant", ["a", "A-1", "acme.eu_1", "a" * 64])
def test_tenant_ids_that_are_taken(tenant: str) -> None:
    assert check_tenant_id(tenant) == tenant


@pytest.mark.parametrize(
    "tenant", ["", ".a", "a.", "-a", "a_", "a" * 65, "a b", "a*", "a>", "ä", "a\n", "٣"]
)
def test_tenant_ids_that_are_refused(tenant: str) -> None:
    with pytest.raises(InvalidInput, match=r"^tenant_id: must be 1 to 64 letters"):
        check_tenant_id(tenant)


@pytest.mark.parametrize("device", ["a", "edge 1", "10.0.0.1", "gw/2:x", "Zürich-*>", "a" * 128])
def test_device_ids_that_are_taken(device: str) -> None:
    assert check_device_id(device) == device


@pytest.mark.parametrize(
    "device", ["", " a", "a ", "a\tb", "a\n", "a\0", "a\u202eb", "\ud800", "a" * 129]
)
def test_device_ids_that_are_refused(device: str) -> None:
    with pytest.raises(InvalidInput, match=r"^device_id: must be "):
        check_device_id(device)


@given(TEXTS)
@example("=41")
@example("a.b.*.>")
@example("\0 \u202e😀")
def test_a_token_is_one_subject_token_and_reads_back(text: str) -> None:
    token = to_token(text)
    assert token
    assert token.isascii()
    assert not set(token) & set(".*> \t\r\n\0/$")
    assert from_token(token) == text


@given(TEXTS, TEXTS)
def test_different_texts_have_different_tokens(one: str, two: str) -> None:
    assert (to_token(one) == to_token(two)) == (one == two)


@given(st.text(alphabet="aZ0-_=4F1AEC3.* é\n", max_size=12))
@example("")
@example("=41")
@example("=ff")
@example("=FF")
@example("=C3")
@example("a=")
@example("=ED=A0=80")
@example("a\n")
def test_what_no_text_has_as_its_token_is_refused(token: str) -> None:
    try:
        text = from_token(token)
    except ValueError:
        return
    assert to_token(text) == token


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_what_can_have_no_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"token|surrogates"):
        to_token(text)


@pytest.mark.parametrize("token", ["", "=41", "=ff", "=FF", "a=", "a.b", "a\n", "=ED=A0=80", "é"])
def test_tokens_in_another_form_are_refused(token: str) -> None:
    with pytest.raises(ValueError, match=r"token|decode"):
        from_token(token)


_PARTS = st.lists(st.binary(max_size=4), max_size=4).map(tuple)


@given(st.sampled_from(["a", "ab", ""]), _PARTS, st.sampled_from(["a", "ab", ""]), _PARTS)
@example("a", (b"bc",), "ab", (b"c",))
@example("a", (b"b", b"c"), "a", (b"bc",))
@example("a", (b"", b"b"), "a", (b"b", b""))
@example("a", (), "a", (b"",))
@example("a", (b"\0" * 4,), "a", (b"\0" * 4, b""))
def test_digests_collide_only_for_the_same_purpose_and_parts(
    purpose: str, parts: tuple[bytes, ...], other: str, others: tuple[bytes, ...]
) -> None:
    same = keyed_digest(KEY, purpose, *parts) == keyed_digest(KEY, other, *others)
    assert same == ((purpose, parts) == (other, others))


def test_digests_depend_on_the_key() -> None:
    assert keyed_digest(KEY, "a", b"b") != keyed_digest(b"x" * 32, "a", b"b")
    assert keyed_digest(KEY, "a", "b") == keyed_digest(KEY, "a", b"b")


def test_an_observation_has_one_id_however_its_time_is_written() -> None:
    digest = "ab" * 32
    name = observation_id(KEY, "acme", "edge1", NOON, digest)
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert observation_id(KEY, "acme", "edge1", elsewhere, digest) == name
    assert len(bytes.fromhex(name)) == 16
    assert uuid.UUID(snapshot_id(name)).hex == name


def test_anything_else_is_another_observation() -> None:
    digest = "ab" * 32
    names = {
        observation_id(KEY, "acme", "edge1", NOON, digest),
        observation_id(b"x" * 32, "acme", "edge1", NOON, digest),
        observation_id(KEY, "acmee", "dge1", NOON, digest),
        observation_id(KEY, "acme", "edge2", NOON, digest),
        observation_id(KEY, "acme", "edge1", NOON + timedelta(microseconds=1), digest),
        observation_id(KEY, "acme", "edge1", NOON, "cd" * 32),
    }
    assert len(names) == 6


def test_fingerprints_are_apart_from_each_other_and_from_plain_hashes() -> None:
    names = {
        text_fingerprint(KEY, "ab" * 32),
        canonical_fingerprint(KEY, "routeros/1", "ab" * 32),
        canonical_fingerprint(KEY, "routeros/2", "ab" * 32),
        canonical_fingerprint(b"x" * 32, "routeros/1", "ab" * 32),
        "ab" * 32,
    }
    assert len(names) == 5
    assert all(len(bytes.fromhex(name)) == 32 for name in names)
