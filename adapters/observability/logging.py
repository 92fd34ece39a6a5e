"""Structured logs on standard error: JSON lines for machines, colours for a terminal.

Everything goes through one chain, the standard library's loggers included. Its last step bounds
every value, so that no configuration text can slip into a log by way of a long field or message.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LONGEST = 500
_DEEPEST = 4
_MOST_ITEMS = 50
_FRAMES = 30
_CONTEXT = ("request_id", "trigger_id", "event_id")


def bounded(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor: values over `LONGEST` characters are replaced by their length, bytes always, and
    of a text with several lines only the first stays.

    A text that is too long is not cut but left out: its beginning may hold a secret as well.
    """
    return {
        _short(key): value if key == "exception" else _bounded(value, 0)
        for key, value in event.items()
    }


def safe_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor: render `exc_info` as `exception`: the places in the code, and short messages."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_told(error, 0, set()))
    else:
        event.pop("exception", None)
    return event


def _told(error: BaseException, depth: int, seen: set[int]) -> list[str]:
    if depth > _DEEPEST or id(error) in seen:
        return []
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = _told(cause, depth + 1, seen) if cause else []
    lines += [
        f"  {frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    ]
    lines.append(f"{type(error).__module__}.{type(error).__qualname__}: {_short(str(error))}")
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions[:_DEEPEST]:
            lines += _told(one, depth + 1, seen)
    return lines


def _bounded(value: object, depth: int) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _short(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes left out>"
        case Mapping() if depth < _DEEPEST and len(value) <= _MOST_ITEMS:
            return {_short(str(key)): _bounded(one, depth + 1) for key, one in value.items()}
        case Sequence() | Set() if depth < _DEEPEST and len(value) <= _MOST_ITEMS:
            return [_bounded(one, depth + 1) for one in value]
        case Mapping() | Sequence() | Set():
            return f"<{len(value)} items left out>"
        case _:
            return _short(str(value))


def _short(text: str) -> str:
    if len(text) > LONGEST:
        return f"<{len(text)} characters left out>"
    first, *others = text.splitlines() or [""]
    return f"{first} <{len(others)} lines left out>" if others else first


def _no_harmless_end(record: logging.LogRecord) -> bool:
    """Whether a record says something. Asyncio warns at the end of each of nats-py's connections
    with TLS, of something that has no effect."""
    return not (record.name == "asyncio" and "eof_received() has no effect" in str(record.msg))


def configure_logging(level: str = "INFO", *, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (default: standard error) from `level` on.

    `ValueError` for an unknown level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is unknown; use DEBUG, INFO, WARNING or ERROR")
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=True)
        if target.isatty()
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(target)
    handler.addFilter(_no_harmless_end)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                safe_exception,
                bounded,
                render,
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "nats"):
        child = logging.getLogger(noisy)
        child.handlers.clear()
        child.propagate = True
    # Of an outage of Postgres we tell in a line every few seconds, the pool in a trace every time.
    logging.getLogger("asyncpg.pool").setLevel(max(number, logging.ERROR))
    # It tells of every step of every login, and of commands.
    logging.getLogger("asyncssh").setLevel(max(number, logging.ERROR))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


@contextlib.contextmanager
def log_context(
    *,
    request_id: str | None = None,
    trigger_id: str | None = None,
    event_id: str | None = None,
) -> Iterator[None]:
    """Put ids on every log line of this task (and of tasks that it starts) in the block."""
    told = zip(_CONTEXT, (request_id, trigger_id, event_id), strict=True)
    given = {name: value for name, value in told if value is not None}
    if not given:
        yield
        return
    with structlog.contextvars.bound_contextvars(**given):
        yield
