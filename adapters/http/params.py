"""Parameters of requests: ids, pages and times, checked by the rules of the domain."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Path, Query
from msgspec import Struct
from pydantic import AfterValidator

from adapters.http.cursors import CURSOR_MAX
from domain.errors import InvalidInput
from domain.ids import DEVICE_MAX, check_device_id, check_tenant_id

PAGE_MAX = 500
OFFSET_MAX = 1_000_000
_LAST = datetime.max.replace(tzinfo=UTC)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Cursor = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=CURSOR_MAX,
        description="where the page before ended, as its `next_cursor` or `Link` says",
    ),
]


class Page(Struct, frozen=True):
    """Which part of a listing: at most `limit` entries from `offset` on, or from where a page
    ended (`cursor`)."""

    limit: int
    offset: int
    cursor: str | None


# Told in the description; what is checked, and how it is refused, is the domain's.
_TENANT = {"pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$"}
_DEVICE = {"minLength": 1, "maxLength": DEVICE_MAX}
_SNAPSHOT = {"format": "uuid", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}


def check_snapshot_id(value: str, field: str = "snapshot_id") -> str:
    """`value`, or `InvalidInput` when no snapshot can have that id."""
    if not _UUID.match(value):
        raise InvalidInput(field, "must be a UUID in lower case")
    return value


async def _page(
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
    cursor: Cursor = None,
) -> Page:
    if cursor is not None and offset:
        raise InvalidInput("offset", "must not be given together with cursor")
    return Page(limit, offset, cursor)


def moment(value: str, field: str) -> datetime:
    """A time with its zone, in UTC; `InvalidInput` for anything else."""
    rule = "must be a time with its zone, such as 2026-03-01T12:00:00Z (in a URL '+' is %2B)"
    try:
        # By RFC 3339 its letters may be small ones. Python stops reading at NUL.
        if not value.isprintable():
            raise InvalidInput(field, rule)
        parsed = datetime.fromisoformat(value.upper())
        if parsed.tzinfo is None:
            raise InvalidInput(field, rule)
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(field, rule) from error


def optional_moment(value: str | None, field: str) -> datetime | None:
    """As `moment`, for a parameter that may be absent."""
    return None if value is None else moment(value, field)


def day_or_moment(value: str | None, field: str, *, end: bool = False) -> datetime | None:
    """As `optional_moment`, or a plain date: that day from its begin on, in UTC; as an `end`, up to
    its end."""
    if value is None:
        return None
    if not _DAY.match(value):
        return moment(value, field)
    try:
        day = datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput(field, "must be a day such as 2026-03-01, or a time") from error
    # Times end with the last day, which has no next one.
    return day + min(timedelta(days=1), _LAST - day) if end else day


def storable(value: str | None, field: str) -> str | None:
    """`value`, or `InvalidInput` for what Postgres can't hold, so that nothing there has it."""
    if value is not None and "\x00" in value:
        raise InvalidInput(field, "must not contain NUL")
    return value


# Checked as parameters, not as dependencies, which cost a multiple.
TenantId = Annotated[str, Path(json_schema_extra=_TENANT), AfterValidator(check_tenant_id)]
DeviceId = Annotated[str, Path(json_schema_extra=_DEVICE), AfterValidator(check_device_id)]
SnapshotId = Annotated[str, Path(json_schema_extra=_SNAPSHOT), AfterValidator(check_snapshot_id)]
PageOf = Annotated[Page, Depends(_page)]
