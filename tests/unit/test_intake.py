"""The wire format of the intake: what is taken, and what refusals say."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.intake import (
    MAX_TEXT,
    ConfigParts,
    IntakeFailure,
    IntakeObservation,
    check_text,
    claimed_identity,
    parse_failure,
    parse_observation,
)

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
CANARY = "canary-8f1d"
TEXT = f"/ip address\r\nadd comment={CANARY}\n"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def wire(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "device_id": "edge 1/ü",
        "tenant_id": "acme",
        "sha256_hash": sha256(TEXT),
        "config_text": TEXT,
        "collected_at": "2025-06-01T11:00:00.123456789+02:00",
        "normalization_version": 1,
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ...}


def failure(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "device_id": "edge1",
        "tenant_id": "acme",
        "kind": "timeout",
        "message": "no answer in 30 s",
        "attempted_at": "2025-06-01T11:00:00Z",
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ...}


def body(fields: object) -> bytes:
    return json.dumps(fields).encode()


def taken_with_text(raw: bytes, now: datetime) -> IntakeObservation:
    """As the recorder does: the fields first, then the text."""
    observation = parse_observation(raw, now)
    if observation.config_text is not None:
        check_text(observation.config_text, observation.sha256_hash)
    return observation


def refusal(raw: bytes, parse: Any = taken_with_text) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse(raw, NOW)
    error = caught.value
    assert CANARY not in str(error)
    assert error.__context__ is None, "a context would carry the body into tracebacks"
    assert error.rule in str(error)
    return error


def test_the_wire_format_of_pollers_in_the_field_is_taken() -> None:
    assert parse_observation(body(wire()), NOW) == IntakeObservation(
        device_id="edge 1/ü",
        tenant_id="acme",
        sha256_hash=sha256(TEXT),
        config_text=TEXT,
        config_parts=None,
        collected_at=datetime(2025, 6, 1, 9, 0, 0, 123456, tzinfo=UTC),
        normalization_version=1,
        source="scheduled",
    )


def test_all_optional_fields_are_taken_and_unknown_ones_ignored() -> None:
    taken = parse_observation(
        body(
            wire(
                routeros_version="7.14.3 (stable)",
                source="manual",
                trigger_id="a1b2",
                platform="routeros",
                normalization_version=...,
                extra={"deep": [1, 2]},
            )
        ),
        NOW,
    )
    assert taken.routeros_version == "7.14.3 (stable)"
    assert taken.source == "manual"
    assert taken.trigger_id == "a1b2"
    assert taken.platform == "routeros"
    assert taken.normalization_version is None


def test_a_text_that_came_over_vtysh_is_one_of_frr() -> None:
    assert parse_observation(body(wire(platform="vtysh")), NOW).platform == "frr"
    assert parse_observation(body(wire(platform="frr")), NOW).platform == "frr"


def test_null_and_empty_optional_fields_are_absent_ones() -> None:
    names = ("routeros_version", "platform", "trigger_id")
    for nothing in (None, ""):
        taken = parse_observation(body(wire(source=None, **dict.fromkeys(names, nothing))), NOW)
        assert (taken.routeros_version, taken.platform, taken.trigger_id) == (None, None, None)
        assert taken.source == "scheduled"


def test_a_text_in_parts_is_named_and_checked_later() -> None:
    parts = {"upload": "u-1", "count": 3}
    taken = parse_observation(body(wire(config_text=..., config_parts=parts)), NOW)
    assert taken.config_parts == ConfigParts("u-1", 3)
    assert taken.config_text is None


def test_an_upper_case_hash_and_a_byte_order_mark_are_taken() -> None:
    raw = b"\xef\xbb\xbf" + body(wire(sha256_hash=sha256(TEXT).upper()))
    assert parse_observation(raw, NOW).sha256_hash == sha256(TEXT)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"", "must be JSON; it is not at line 1, column 1"),
        (b"{", "must be JSON; it is not at line 1, column 2"),
        (f'{{"config_text": "x",\n {CANARY}'.encode(), "must be JSON; it is not at line 2, column"),
        (f'{{"a": "\\{CANARY}"}}'.encode(), "must be JSON; it is not at"),
        (b'{"a": "\t"}', "must be JSON; it is not at"),
        (b'{"a": "caf\xe9"}', "must be UTF-8; it is not at byte 10"),
        (b'{"a": "\xed\xa0\x80"}', "must be UTF-8; it is not at byte 7"),
        (body([CANARY]), "must be a JSON object"),
        (body(CANARY), "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"[" * 200_000, "must not be nested this deeply"),
        (b'{"a":' * 200_000, "must not be nested this deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "must not hold numbers of this length"),
        (b'{"a": NaN}', "must be JSON, which knows neither NaN nor Infinity"),
        (b'{"a": 1, "a": 2}', "must not name a field twice"),
        (b'{"b": {"a": 1, "a": 2}}', "must not name a field twice"),
        (body(wire()).decode().encode("utf-16"), "must be UTF-8"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_place(raw: bytes, rule: str) -> None:
    for parse in (taken_with_text, parse_failure):
        error = refusal(raw, parse)
        assert error.field == "body"
        assert error.rule.startswith(rule)


@pytest.mark.parametrize(
    "name", ["device_id", "tenant_id", "sha256_hash", "config_text", "collected_at"]
)
@pytest.mark.parametrize(
    ("value", "rule"),
    [(..., "is missing"), (None, "is missing")]
    + [(wrong, "must be a string") for wrong in (7, True, [CANARY], {"x": CANARY}, 1.5)],
)
def test_a_required_field_that_is_missing_or_of_another_type_is_named(
    name: str, value: object, rule: str
) -> None:
    error = refusal(body(wire(**{name: value})))
    assert (error.field, error.rule) == (name, rule)


@pytest.mark.parametrize("tenant", ["", "a b", "ä", "a*", "a>", "-a", "a.", "a" * 65, "a\n"])
def test_a_tenant_with_other_characters_is_refused(tenant: str) -> None:
    assert refusal(body(wire(tenant_id=tenant))).field == "tenant_id"
    assert refusal(body(failure(tenant_id=tenant)), parse_failure).field == "tenant_id"


@pytest.mark.parametrize("device", ["", " ", "a ", "a\nb", "a\u202eb", "a" * 129, "\ud800"])
def test_a_device_without_a_usable_id_is_refused(device: str) -> None:
    assert refusal(body(wire(device_id=device))).field == "device_id"
    assert refusal(body(failure(device_id=device)), parse_failure).field == "device_id"


@pytest.mark.parametrize("digest", ["", "x" * 64, "ab" * 31, "ab" * 33, "ab" * 32 + "\n", "٣" * 64])
def test_what_is_no_sha256_is_refused(digest: str) -> None:
    error = refusal(body(wire(sha256_hash=digest)))
    assert error.field == "sha256_hash"
    assert "64 hexadecimal digits" in error.rule


def test_a_hash_of_another_text_is_refused() -> None:
    error = refusal(body(wire(sha256_hash=sha256(TEXT + "x"))))
    assert error.field == "sha256_hash"
    assert error.rule == "must be the SHA-256 of config_text in UTF-8; it is not"


@pytest.mark.parametrize("text", ["", " ", "\r\n\t \n", "\ufeff", "\ufeff \n"])
def test_a_text_of_nothing_is_refused(text: str) -> None:
    error = refusal(body(wire(config_text=text, sha256_hash=sha256(text))))
    assert (error.field, error.rule) == ("config_text", "must not be empty or only blanks")


@pytest.mark.parametrize(
    "char", [*sorted(set(map(chr, range(32))) - set("\x03\t\n\v\f\r")), "\x7f"]
)
def test_a_binary_text_is_refused_and_the_line_named(char: str) -> None:
    text = f"line\n{CANARY}{char}\nmore\n\n"
    error = refusal(body(wire(config_text=text, sha256_hash=sha256(text))))
    assert error.field == "config_text"
    assert f"line 2 holds the control character U+{ord(char):04X}" in error.rule


@pytest.mark.parametrize(
    "text", ["a\tb\x0b\x0c\r\n\x85é\u2028\U0001f600", "#", "banner motd \x03hi\x03"]
)
def test_unusual_text_is_still_text(text: str) -> None:
    taken = taken_with_text(body(wire(config_text=text, sha256_hash=sha256(text))), NOW)
    assert taken.config_text == text
    assert check_text(text, sha256(text)) == text.encode()


@pytest.mark.parametrize(
    "page",
    [
        "<!DOCTYPE html>\n<html><body>RouterOS</body></html>\n",
        "\ufeff\r\n <HTML><HEAD><TITLE>401 Unauthorized</TITLE></HEAD></HTML>",
        '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
        "<!-- of the proxy -->\n<html lang='en'>",
        "HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\n\r\n",
        "<head><title>Log in</title></head>",
    ],
)
def test_a_web_page_is_refused_and_what_to_do_is_said(page: str) -> None:
    error = refusal(body(wire(config_text=page, sha256_hash=sha256(page))))
    assert error.field == "config_text"
    assert "not a web page" in error.rule
    assert "ask again" in error.rule


@pytest.mark.parametrize(
    "text",
    [
        '/file\nadd contents="<!DOCTYPE html><html></html>" name=hotspot/login.html\n',
        '/system script\nadd name=a source="<html>"\n',
        '<?xml version="1.0"?>\n<opnsense><system/></opnsense>\n',
        "banner motd ^C\n<html>\n^C\n",
        "# 2026-03-01 12:00:00 by RouterOS 7.14\n/ip dns\nset servers=192.0.2.1\n",
        "<hostname>r1</hostname>\n",
        "HTTP/proxy off\n",
    ],
)
def test_a_configuration_with_pages_in_it_is_taken(text: str) -> None:
    assert check_text(text, sha256(text)) == text.encode()


def test_half_a_surrogate_pair_is_refused() -> None:
    error = refusal(body(wire(config_text=f"{CANARY}\ud800")))
    assert error.field == "config_text"
    assert "surrogate" in error.rule


def test_64_mib_is_taken_and_a_byte_more_is_not() -> None:
    text = "é" * (MAX_TEXT // 2)
    assert len(check_text(text, sha256(text))) == MAX_TEXT
    for longer in (text + "a", "a" * (MAX_TEXT + 1)):
        with pytest.raises(InvalidInput, match="at most 67108864 bytes"):
            check_text(longer, "00" * 32)


@pytest.mark.parametrize(
    "moment",
    [
        "",
        "yesterday",
        "2025-06-01",
        "2025-06-01T11:00:00",
        "2025-06-01 11:00Z",
        "2025-06-01T11:00:00+0200",
        "2025-02-30T11:00:00Z",
        "2025-06-01T25:00:00Z",
        "2025-06-01T11:00:60Z",
        "2025-06-01T11:00:00+99:00",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-02:00",
        "2025-06-01T11:00:00Z\n",
        "٢٠٢٥-06-01T11:00:00Z",
    ],
)
def test_a_time_that_is_not_rfc_3339_is_refused(moment: str) -> None:
    error = refusal(body(wire(collected_at=moment)))
    assert error.field == "collected_at"
    assert "RFC 3339" in error.rule
    assert refusal(body(failure(attempted_at=moment)), parse_failure).field == "attempted_at"


@pytest.mark.parametrize(
    ("moment", "rule"),
    [
        ("1970-01-01T00:00:30Z", "before the year 2000"),
        ("1999-12-31T23:59:59Z", "before the year 2000"),
        ("2000-01-01T00:00:00+00:01", "before the year 2000"),
        ("2025-06-02T12:00:01Z", "24 hours ahead"),
        ("2100-01-01T00:00:00Z", "24 hours ahead"),
    ],
)
def test_a_clock_that_is_wrong_is_refused(moment: str, rule: str) -> None:
    for error in (
        refusal(body(wire(collected_at=moment))),
        refusal(body(failure(attempted_at=moment)), parse_failure),
    ):
        assert rule in error.rule


@pytest.mark.parametrize(
    "moment", ["2000-01-01T00:00:00Z", "2025-06-02T12:00:00Z", "2024-02-29t00:00:00.5z"]
)
def test_times_at_the_bounds_are_taken(moment: str) -> None:
    taken = parse_observation(body(wire(collected_at=moment)), NOW)
    assert taken.collected_at.utcoffset() == timedelta()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"source": "magic"}, "source"),
        ({"source": 1}, "source"),
        ({"source": ""}, "source"),
        ({"routeros_version": f"{CANARY}\n"}, "routeros_version"),
        ({"routeros_version": "7" * 65}, "routeros_version"),
        ({"routeros_version": 7.1}, "routeros_version"),
        ({"platform": "Router OS"}, "platform"),
        ({"trigger_id": "a b"}, "trigger_id"),
        ({"trigger_id": "a" * 129}, "trigger_id"),
        ({"normalization_version": -1}, "normalization_version"),
        ({"normalization_version": "1"}, "normalization_version"),
        ({"normalization_version": True}, "normalization_version"),
        ({"normalization_version": 10**40}, "normalization_version"),
        ({"config_parts": {"upload": "u", "count": 1}}, "config_parts"),
        ({"config_text": ..., "config_parts": "u"}, "config_parts"),
        ({"config_text": ..., "config_parts": {}}, "config_parts.upload"),
        (
            {"config_text": ..., "config_parts": {"upload": "a.b", "count": 1}},
            "config_parts.upload",
        ),
        ({"config_text": ..., "config_parts": {"upload": "u"}}, "config_parts.count"),
        ({"config_text": ..., "config_parts": {"upload": "u", "count": 0}}, "config_parts.count"),
        ({"config_text": ..., "config_parts": {"upload": "u", "count": 1e9}}, "config_parts.count"),
        (
            {"config_text": ..., "config_parts": {"upload": "u", "count": True}},
            "config_parts.count",
        ),
    ],
)
def test_an_optional_field_that_breaks_its_rule_is_named(
    changes: dict[str, object], field: str
) -> None:
    assert refusal(body(wire(**changes))).field == field


def test_a_failed_reading_is_taken() -> None:
    assert parse_failure(body(failure()), NOW) == IntakeFailure(
        device_id="edge1",
        tenant_id="acme",
        kind="timeout",
        message="no answer in 30 s",
        attempted_at=datetime(2025, 6, 1, 11, tzinfo=UTC),
    )
    taken = parse_failure(body(failure(attempt=3, source="manual", trigger_id="t1")), NOW)
    assert (taken.attempt, taken.source, taken.trigger_id) == (3, "manual", "t1")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(({name: ...}, name) for name in failure()),
        *(({name: 5}, name) for name in failure()),
        ({"kind": "Time Out"}, "kind"),
        ({"kind": "a" * 41}, "kind"),
        ({"kind": "timeout\n"}, "kind"),
        ({"message": ""}, "message"),
        ({"message": "a" * 501}, "message"),
        ({"message": f"{CANARY}\nadd"}, "message"),
        ({"message": "\x1b[31m"}, "message"),
        ({"attempt": 0}, "attempt"),
        ({"attempt": "1"}, "attempt"),
        ({"source": "magic"}, "source"),
        ({"trigger_id": "a b"}, "trigger_id"),
    ],
)
def test_a_failed_reading_that_breaks_a_rule_is_refused(
    changes: dict[str, object], field: str
) -> None:
    assert refusal(body(failure(**changes)), parse_failure).field == field


def test_a_refused_message_still_says_whose_it_was() -> None:
    assert claimed_identity(body(wire(sha256_hash=1))) == ("acme", "edge 1/ü")
    assert claimed_identity(body({"tenant_id": "a b", "device_id": 7})) == (None, None)
    assert claimed_identity(b"{") == (None, None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*wire(), *failure(), "config_parts", "source"]), _JSON))
def test_any_fields_are_taken_or_refused(changes: dict[str, object]) -> None:
    with suppress(InvalidInput):
        taken_with_text(body(wire(**changes)), NOW)
    with suppress(InvalidInput):
        parse_failure(body(failure(**changes)), NOW)


@given(st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused(raw: bytes) -> None:
    for spliced in (raw, body(wire())[:-20] + raw, b'{"config_text":"' + raw + b'"}'):
        with suppress(InvalidInput):
            taken_with_text(spliced, NOW)
        claimed_identity(spliced)
