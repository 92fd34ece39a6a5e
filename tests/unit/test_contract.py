"""The published contract: it is what the code does, it never breaks a reader, and old stays old."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from adapters.contract import __main__ as generator
from adapters.contract.compat import incompatibilities
from adapters.contract.published import (
    FOLDER,
    INDEX,
    IncompatibleSchema,
    PublishedLost,
    as_text,
    contract,
    index_of,
    published_schemas,
)
from adapters.contract.schemas import todays_schemas
from adapters.jetstream import wire
from domain.envelope import Head, NewEvent, StoredEvent
from domain.errors import InvalidInput, MalformedEvent, UnknownEventType
from domain.events import EVENT_NAMES, EVENT_TYPES, ManualBackupFinished, event_name
from domain.intake import parse_failure, parse_observation
from domain.upcast import VERSIONS, read_event
from tests.behaviour.event_store import NOON, failure

GOLDEN = sorted((FOLDER / "golden").glob("*.json"))


def golden(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def stored(example: dict[str, Any]) -> StoredEvent:
    body = json.dumps(example["body"]).encode()
    return wire.decode(example["subject"], example["headers"], body, 42, NOON)


def test_the_published_files_are_what_the_code_generates() -> None:
    schemas, document = contract()
    for name, schema in schemas.items():
        there = (FOLDER / "schemas" / f"{name}.json").read_text()
        assert there == as_text(schema), "run: make contract"
    assert yaml.safe_load((FOLDER / "asyncapi.yaml").read_text()) == document, "run: make contract"


def test_every_version_ever_published_has_its_schema_and_golden_payloads() -> None:
    wanted = {
        f"configtrail.{name}.v{version}"
        for name, latest in VERSIONS.items()
        for version in range(1, latest + 1)
    }
    assert set(published_schemas()) == wanted
    for label in ("full", "plain"):
        assert {path.name for path in GOLDEN if label in path.name} == {
            f"{name}.{label}.json" for name in wanted
        }


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_payload_keeps_its_schema_and_is_read_by_todays_code(path: Path) -> None:
    example = golden(path)
    schema = published_schemas()[example["headers"]["ce-type"]]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(
        example["body"], schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    read = stored(example)
    assert read.event_id == example["headers"]["ce-id"]
    assert read.version == 7
    assert event_name(read.event) == example["body"]["type"]
    # What today's code writes of it keeps today's schema.
    new = NewEvent(**{name: getattr(read, name) for name in NewEvent.__struct_fields__})
    _, headers, body = wire.encode(new, Head(6, 41))
    jsonschema.validate(json.loads(body), todays_schemas()[headers["ce-type"]])


def test_a_full_payload_has_every_field_of_its_schema() -> None:
    for path in GOLDEN:
        example = golden(path)
        schema = published_schemas()[example["headers"]["ce-type"]]
        # So a field can't be renamed or removed, whatever is done to the schema's own file.
        if "full" in path.name:
            assert set(example["body"]) == set(schema["properties"]), path.name
        assert set(schema["required"]) <= set(example["body"]) <= set(schema["properties"])


def test_a_backup_whose_program_died_is_interrupted_in_the_old_version_too() -> None:
    example = golden(FOLDER / "golden" / "configtrail.ManualBackupFinished.v1.full.json")
    assert example["body"]["outcome"] == "failed"
    event = stored(example).event
    assert isinstance(event, ManualBackupFinished)
    assert event.outcome == "interrupted"
    # One that the device refused stays failed.
    body = json.dumps({**example["body"], "actor": "user:ann"}).encode()
    refused = read_event("configtrail.ManualBackupFinished.v1", body, 1)
    assert isinstance(refused, ManualBackupFinished)
    assert refused.outcome == "failed"


def test_unknown_fields_are_ignored_and_unknown_types_and_versions_stop_the_reader() -> None:
    example = golden(FOLDER / "golden" / "configtrail.CollectionFailed.v1.plain.json")
    body = json.dumps({**example["body"], "of_tomorrow": {"a": 1}}).encode()
    assert read_event("configtrail.CollectionFailed.v1", body, 1) == stored(example).event
    for unknown in ("configtrail.CollectionFailed.v2", "configtrail.NewThing.v1", "other"):
        with pytest.raises(UnknownEventType):
            read_event(unknown, body, 1)
    for broken in (b"{}", b"[]", b"\xff", b'{"type":"ManualBackupFinished"}'):
        with pytest.raises(MalformedEvent):
            read_event("configtrail.ManualBackupFinished.v1", broken, 1)


def test_a_body_that_is_nested_without_end_is_malformed() -> None:
    """Of each event, in a field that nobody knows, and on the way through an older version."""
    deep = b"[" * 100_000 + b"]" * 100_000
    for name in EVENT_NAMES:
        body = b'{"type":"%s","zzz":%s}' % (name.encode(), deep)
        for version in range(1, VERSIONS[name] + 1):
            with pytest.raises(MalformedEvent, match="RecursionError"):
                read_event(f"configtrail.{name}.v{version}", body, 1)


BASE: dict[str, Any] = {
    "type": "object",
    "description": "Words.",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
    },
    "required": ["kind", "parts"],
    "$defs": {
        "Part": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    new = deepcopy(BASE)
    *parents, last = path.split("/")
    place = new
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return new


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("description", "Other words."),
        ("properties/more", {"type": "string"}),
        ("$defs/Part/properties/m", {"type": "string"}),
        ("$defs/New", {"type": "object"}),
    ],
)
def test_a_new_optional_field_and_other_words_are_compatible(path: str, value: object) -> None:
    assert incompatibilities(BASE, changed(path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("properties/note", None, "note: it is gone"),
        ("properties/kind/enum", ["a", "b", "c"], "kind: enum was"),
        ("properties/kind", {"type": "string"}, "kind: enum was"),
        ("properties/note", {"type": "string"}, "note:"),
        ("required", ["kind", "parts", "note"], "note: events that are stored already"),
        ("required", ["kind"], "parts: readers rely on it"),
        ("$defs/Part/properties/n", {"type": "string"}, "parts[].n: type was integer"),
        ("$defs/Part/properties/n", None, "parts[].n: it is gone"),
        ("additionalProperties", False, "the event: additionalProperties was None"),
    ],
)
def test_what_breaks_a_reader_or_an_old_event_is_told(path: str, value: object, told: str) -> None:
    assert any(told in one for one in incompatibilities(BASE, changed(path, value)))


def test_an_incompatible_change_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "schemas").mkdir()
    name = "configtrail.CollectionFailed.v1"
    old = todays_schemas()[name]
    old["properties"]["severity"] = {"type": "string"}
    (tmp_path / "schemas" / f"{name}.json").write_text(as_text(old))
    (tmp_path / INDEX).write_text(as_text(index_of({name: old})))
    with pytest.raises(IncompatibleSchema, match=r"severity: it is gone.*make a new version"):
        contract(tmp_path)
    monkeypatch.setattr(generator, "contract", lambda: contract(tmp_path))
    assert generator.main() == 1
    assert "severity" in capsys.readouterr().err


def test_a_published_schema_that_was_removed_or_altered_is_not_generated_anew(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "contract"
    shutil.copytree(FOLDER, folder)
    contract(folder)
    schema = folder / "schemas" / "configtrail.CollectionFailed.v1.json"
    text = schema.read_text()
    schema.write_text(text.replace('"attempt"', '"attempts"'))
    with pytest.raises(PublishedLost, match=r"CollectionFailed\.v1.*altered by hand"):
        contract(folder)
    schema.unlink()
    with pytest.raises(PublishedLost, match=r"CollectionFailed\.v1.*is gone"):
        contract(folder)
    schema.write_text(text)
    pinned = json.loads((folder / INDEX).read_text())
    del pinned["configtrail.CollectionFailed.v1"]
    (folder / INDEX).write_text(json.dumps(pinned))
    with pytest.raises(PublishedLost, match="only grows"):
        contract(folder)
    (folder / INDEX).unlink()
    with pytest.raises(PublishedLost, match="the list of what was published is gone"):
        contract(folder)


def test_whatever_has_a_golden_payload_was_published() -> None:
    pinned = set(json.loads((FOLDER / INDEX).read_text()))
    examples = (json.loads(path.read_text()) for path in (FOLDER / "golden").rglob("*.json"))
    assert {one["headers"]["ce-type"] for one in examples} == pinned


def test_the_document_names_every_message_and_every_header_that_is_written() -> None:
    _, document = contract()
    messages = document["components"]["messages"]
    events = document["channels"]["events"]["messages"]
    assert set(events) == set(messages) - {"observation", "failure"}
    for message in (messages[name] for name in events):
        assert (FOLDER / message["payload"]["schema"]["$ref"]).exists()
        [trait] = message["traits"]
        assert trait["$ref"] == "#/components/messageTraits/event"
    assert messages["configtrail.ManualBackupFinished.v1"]["deprecated"]
    headers = document["components"]["messageTraits"]["event"]["headers"]
    _, written, _ = wire.encode(failure(1), Head())
    condition = {name for name in written if name.startswith("Nats-Expected")}
    jsonschema.validate(
        {name: text for name, text in written.items() if name not in condition}, headers
    )
    assert set(written) - condition <= set(headers["properties"])
    assert len(EVENT_TYPES) == len(document["channels"]["events"]["parameters"]["type"]["enum"])


def test_the_guide_and_the_examples_know_every_published_type() -> None:
    guide = (FOLDER / "guide.md").read_text()
    assert [name for name in VERSIONS if f"`{name}`" not in guide] == []
    for example in ("replay.py", "replay.mjs"):
        text = (FOLDER.parent / "examples" / example).read_text()
        missing = [name for name in published_schemas() if f'"{name}"' not in text]
        assert not missing, f"docs/examples/{example} would stop at these"


@pytest.mark.parametrize("name", ["IntakeObservation", "IntakeFailure"])
def test_what_the_intake_takes_keeps_its_schema_and_the_least_is_enough(name: str) -> None:
    _, document = contract()
    schemas = document["components"]["schemas"]
    whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    device: dict[str, object] = {"tenant_id": "acme", "device_id": "r1"}
    text = "/system identity set name=r1\n"
    messages: dict[str, tuple[Callable[[bytes], object], dict[str, object]]] = {
        "IntakeObservation": (
            lambda body: parse_observation(body, NOON),
            {
                "sha256_hash": hashlib.sha256(text.encode()).hexdigest(),
                "config_text": text,
                "collected_at": NOON.isoformat(),
            },
        ),
        "IntakeFailure": (
            lambda body: parse_failure(body, NOON),
            {"kind": "timeout", "message": "no answer", "attempted_at": NOON.isoformat()},
        ),
    }
    parse, fields = messages[name]
    least = {**device, **fields}
    assert parse(json.dumps(least).encode())
    jsonschema.validate(least, whole)
    for field in schemas[name]["required"]:
        fewer = {key: value for key, value in least.items() if key != field}
        with pytest.raises(InvalidInput):
            parse(json.dumps(fewer).encode())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(fewer, whole)
