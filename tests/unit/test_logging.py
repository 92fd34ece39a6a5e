"""Logs: one chain for all loggers, ids on every line, nothing long gets in."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from adapters.observability.logging import LONGEST, bounded, configure_logging, log_context

CANARY = "canary-secret-6f1e"
TEXT = "\n".join(["# software id = X", f"/ppp secret add password={CANARY}", "/ip address"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("DEBUG", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_loggers_write_one_json_line_each(output: io.StringIO) -> None:
    structlog.get_logger("one").info("recorded", event_id="e1", position=7)
    logging.getLogger("two").warning("slow by %d s", 3)
    first, second = lines(output)
    assert first["event"] == "recorded"
    assert (first["level"], first["logger"], first["position"]) == ("info", "one", 7)
    assert (second["event"], second["level"], second["logger"]) == ("slow by 3 s", "warning", "two")
    assert second["timestamp"].endswith("Z")


def test_a_terminal_gets_text_and_not_json() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = Terminal()
    try:
        configure_logging("INFO", stream=stream)
        logging.getLogger("x").info("hello")
        logging.getLogger("x").debug("too quiet to be seen")
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "hello" in stream.getvalue()
    assert "too quiet" not in stream.getvalue()
    assert not stream.getvalue().startswith("{")


async def test_ids_are_on_the_lines_of_the_block_and_of_its_tasks_only(output: io.StringIO) -> None:
    async def inside() -> None:
        logging.getLogger("task").info("inside")

    with log_context(request_id="r-1"), log_context(trigger_id="t-1"):
        await asyncio.create_task(inside())
    logging.getLogger("task").info("outside")
    first, second = (line for line in lines(output) if line["logger"] == "task")
    assert (first["request_id"], first["trigger_id"]) == ("r-1", "t-1")
    assert "event_id" not in first
    assert "request_id" not in second


def test_configuration_text_does_not_get_in_by_any_field(output: io.StringIO) -> None:
    big = TEXT * 20
    log = structlog.get_logger("x")
    log.info("text", config=TEXT, raw=TEXT.encode(), nested={"a": [TEXT, {"b": TEXT}]}, big=big)
    logging.getLogger("y").info(big)
    logging.getLogger("y").info("message", extra={"config_text": TEXT})
    assert len(lines(output)) == 3
    assert CANARY not in output.getvalue()
    assert "left out" in output.getvalue()


def test_configuration_text_does_not_get_in_by_an_exception(output: io.StringIO) -> None:
    def fail() -> None:
        try:
            raise ValueError(TEXT)
        except ValueError as error:
            raise RuntimeError("recording failed") from error

    try:
        fail()
    except RuntimeError:
        logging.getLogger("x").exception("unexpected")
        structlog.get_logger("x").exception("unexpected")
    try:
        raise ExceptionGroup("several", [ValueError(TEXT * 20), KeyError("k")])
    except ExceptionGroup:
        logging.getLogger("x").exception("unexpected")
    one, two, three = lines(output)
    assert CANARY not in output.getvalue()
    assert "RuntimeError: recording failed" in one["exception"]
    assert one["exception"] == two["exception"]
    assert "in fail" in one["exception"]
    assert "KeyError" in three["exception"]


@given(st.text(min_size=LONGEST + 1), st.text(max_size=3))
def test_no_long_text_survives_wherever_it_is(text: str, key: str) -> None:
    event = {
        "a": text,
        "b": [text],
        "c": {key: (text,)},
        "d": {text: 1},
        text: 1,
        "e": Exception(text),
    }
    shown = bounded(None, "info", dict(event))
    assert all(len(part) <= LONGEST for part in _strings(shown))
    assert text not in json.dumps(shown, ensure_ascii=False)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _strings(key)
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("LOUD")
