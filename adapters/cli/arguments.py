"""Arguments and options that several commands share, checked before anything is started."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, TypeVar

import typer

from domain.errors import InvalidInput
from domain.ids import check_device_id
from domain.json_fields import moment

T = TypeVar("T")

_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_SNAPSHOT = re.compile(r"[0-9a-f]{4,8}\Z|[0-9a-f]{8}-[0-9a-f-]{0,27}\Z")
_RULE = "must be a date such as 2026-03-01 or a time with its zone such as 2026-03-01T12:00:00Z"
_LAST_INSTANT = timedelta(days=1) - timedelta(microseconds=1)


def at_time(text: str) -> datetime:
    """A time (RFC 3339), or for a date the last instant of that day, in UTC: "as of Tuesday" is
    what held when Tuesday was over. Raises `InvalidInput`."""
    if not _DATE.match(text):
        return _instant(text)
    try:
        return since_time(text) + _LAST_INSTANT
    except OverflowError as error:
        raise InvalidInput("time", _RULE) from error


def since_time(text: str) -> datetime:
    """A time (RFC 3339), or for a date the first instant of that day, in UTC. Raises as above."""
    if not _DATE.match(text):
        return _instant(text)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("time", _RULE) from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _instant(text: str) -> datetime:
    try:
        return moment({"time": text}, "time")
    except InvalidInput as error:
        raise InvalidInput("time", _RULE) from error


def snapshot_prefix(text: str) -> str:
    """A snapshot's id, or at least 4 characters of its beginning. Raises `InvalidInput`."""
    lowered = text.lower()
    if not _SNAPSHOT.match(lowered):
        raise InvalidInput("snapshot", "must be an id as `history` shows it, or its beginning")
    return lowered


def snapshot_or_time(text: str) -> str | datetime:
    """What stands for a version: a snapshot's id or its beginning, or a time as in `--at`.

    Raises `InvalidInput`.
    """
    try:
        return at_time(text)
    except InvalidInput:
        pass
    try:
        return snapshot_prefix(text)
    except InvalidInput as error:
        raise InvalidInput(
            "version", "must be a snapshot's id, a date, or a time with its zone"
        ) from (error)


def _usage(check: Callable[[str], T]) -> Callable[[str], T]:
    """The check as a parser of the command line: what it refuses is wrong usage."""

    def parse(text: str) -> T:
        try:
            return check(text)
        except InvalidInput as error:
            raise typer.BadParameter(error.rule) from None

    return parse


since_option, until_option = _usage(since_time), _usage(at_time)
checked_device = _usage(check_device_id)
Device = Annotated[
    str, typer.Argument(metavar="DEVICE", parser=checked_device, help="The device's id.")
]
AnyDevice = Annotated[
    str | None,
    typer.Argument(
        metavar="[DEVICE]", parser=_usage(check_device_id), help="The device's id; default: all."
    ),
]
Reveal = Annotated[
    bool,
    typer.Option("--reveal", help="Show secrets as they are, which is recorded; needs --reason."),
]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why secrets are to be seen, for the audit trail.")
]
At = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME",
        parser=_usage(at_time),
        help="As of a time with its zone (RFC 3339), or of the end of a day (UTC).",
    ),
]
Since = Annotated[
    datetime | None,
    typer.Option(metavar="TIME", parser=_usage(since_time), help="From this time or day (UTC) on."),
]
Until = Annotated[
    datetime | None,
    typer.Option(metavar="TIME", parser=_usage(at_time), help="Up to this time or day (UTC)."),
]
Snapshot = Annotated[
    str | None,
    typer.Option(
        metavar="ID", parser=_usage(snapshot_prefix), help="A snapshot's id, or its beginning."
    ),
]
From = Annotated[
    str | None,
    typer.Argument(
        metavar="[FROM]", parser=_usage(snapshot_or_time), help="Snapshot, time or day (UTC)."
    ),
]
To = Annotated[
    str | None,
    typer.Argument(
        metavar="[TO]",
        parser=_usage(snapshot_or_time),
        help="The same; without it, the current configuration.",
    ),
]
# Streams and tables count no further.
Position = Annotated[
    int,
    typer.Argument(metavar="POSITION", min=1, max=(1 << 63) - 1, help="As the list shows it."),
]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, with the fields of the API.")]
