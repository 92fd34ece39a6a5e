"""In which form an answer is given: what the caller accepts, of what there is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from fastapi import Request

from adapters.http.repeated import joined
from adapters.shapes.out import Out
from domain.errors import ConfigtrailError

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
TEXT = "text/plain"
DIFF = "text/x-diff"
LISTING = (JSON, NDJSON, CSV)
# What a spreadsheet takes for the beginning of a formula, in some of them the full-width forms as
# well, or for a separator of fields.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class NotAcceptable(ConfigtrailError):
    """None of the forms that there are is accepted."""

    def __init__(self, offered: Sequence[str]) -> None:
        super().__init__(f"there is this as {', '.join(offered)}, and Accept takes none of them")
        self.offered = tuple(offered)


def accepted(request: Request, offered: Sequence[str]) -> str:
    """The offered form that is accepted best; at the same weight the one offered first.

    Raises `NotAcceptable`.
    """
    ranges = _ranges(joined(request.headers.getlist("accept")) or "*/*")
    best = max(offered, key=lambda one: _weight(ranges, one))
    if _weight(ranges, best) <= 0:
        raise NotAcceptable(offered)
    return best


def _ranges(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in header.split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = min(1.0, max(0.0, float(parameter[2:])))
                except ValueError:
                    weight = 0.0
        found[name] = weight
    return found


def _weight(ranges: dict[str, float], form: str) -> float:
    """By the most specific range that holds, as RFC 9110 has it."""
    for name in (form, f"{form.partition('/')[0]}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0


def cell(value: object) -> str:
    """A value as a field of CSV: no field begins what a spreadsheet would run as a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_rows(rows: Iterable[Out], columns: Sequence[str]) -> str:
    """Lines of CSV (RFC 4180). What a field nests is JSON."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        values = msgspec.to_builtins(row)
        writer.writerow([cell(values[column]) for column in columns])
    return out.getvalue()


def csv_header(columns: Sequence[str]) -> str:
    """The line of names."""
    return ",".join(columns) + "\r\n"
