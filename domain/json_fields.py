"""Reading a JSON object from outside, field by field, with every refusal an `InvalidInput`.

Invariant: no refusal quotes what was sent; it names the field, the rule and at most a place.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Final, TypeVar

from domain.errors import InvalidInput

_T = TypeVar("_T", str, int, dict[str, object])
_C = TypeVar("_C", bound=str)
_NAMES: Final = {str: "a string", int: "a whole number", dict: "an object"}
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?(?:([Zz])|([+-]\d\d:\d\d))\Z", re.ASCII
)


def decode_object(body: bytes) -> dict[str, object]:
    """The JSON object (RFC 8259, in UTF-8) that a body is. Raises `InvalidInput`."""
    refusal = ""
    value: object = None
    try:
        value = json.loads(
            body.decode("utf-8-sig"), object_pairs_hook=_no_twins, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        refusal = f"must be UTF-8; it is not at byte {error.start}"
    except json.JSONDecodeError as error:
        refusal = f"must be JSON; it is not at line {error.lineno}, column {error.colno}"
    except RecursionError:
        refusal = "must not be nested this deeply"
    except ValueError:
        refusal = "must not hold numbers of this length"
    if refusal:
        # Raised out here, because the errors above carry the body as their context.
        raise InvalidInput("body", refusal)
    if not isinstance(value, dict):
        raise InvalidInput("body", "must be a JSON object")
    return value


def required(fields: dict[str, object], name: str, kind: type[_T]) -> _T:
    """A field that must be there and of that type. Raises `InvalidInput`."""
    value = optional(fields, name, kind)
    if value is None:
        raise InvalidInput(name, "is missing")
    return value


def optional(fields: dict[str, object], name: str, kind: type[_T]) -> _T | None:
    """A field of that type, or None when it is absent or null. Raises `InvalidInput`."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidInput(name, f"must be {_NAMES[kind]}")
    return value


def matching(
    fields: dict[str, object], name: str, pattern: re.Pattern[str], rule: str
) -> str | None:
    """An optional string of a shape, None when absent or empty. Raises `InvalidInput`."""
    value = optional(fields, name, str)
    if not value:
        return None
    if not pattern.match(value):
        raise InvalidInput(name, rule)
    return value


def matching_choice(fields: dict[str, object], name: str, choices: tuple[_C, ...]) -> _C | None:
    """An optional string that is one of these. Raises `InvalidInput`."""
    value = optional(fields, name, str)
    if value is None:
        return None
    for one in choices:
        if one == value:
            return one
    raise InvalidInput(name, f"must be one of {', '.join(choices)}")


def whole_number(fields: dict[str, object], name: str, least: int, most: int) -> int | None:
    """An optional whole number within bounds. Raises `InvalidInput`."""
    value = optional(fields, name, int)
    if value is not None and not least <= value <= most:
        raise InvalidInput(name, f"must lie between {least} and {most}")
    return value


def moment(fields: dict[str, object], name: str) -> datetime:
    """A required date and time with zone (RFC 3339), in UTC, cut to microseconds.

    Raises `InvalidInput`, also for leap seconds, which Python's clock does not know.
    """
    rule = "must be a date and time with a zone as in RFC 3339, such as 2024-05-31T13:45:00Z"
    found = _MOMENT.match(required(fields, name, str))
    if found is None:
        raise InvalidInput(name, rule)
    day, time, fraction, zulu, offset = found.groups()
    try:
        return datetime.fromisoformat(
            f"{day}T{time}.{(fraction or '0')[:6]:0<6}{'+00:00' if zulu else offset}"
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(name, rule)


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidInput("body", "must not name a field twice")
    return fields


def _no_constant(_: str) -> object:
    raise InvalidInput("body", "must be JSON, which knows neither NaN nor Infinity")
