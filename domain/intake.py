"""What pollers send: the wire format of the intake, and the rules that it must keep.

Every refusal is an `InvalidInput` that names the field and the rule, and never quotes the text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from msgspec import Struct

from domain.attribution import DeviceHistory, parse_device_history
from domain.errors import InvalidInput
from domain.events import Source
from domain.ids import check_device_id, check_tenant_id
from domain.json_fields import decode_object, matching, moment, optional, required, whole_number
from domain.web_page import is_web_page

MAX_TEXT: Final = 64 * 1024 * 1024
"""The longest configuration text taken, in bytes of UTF-8."""

MAX_PARTS: Final = 4096
MAX_MESSAGE: Final = 500
MAX_AUTHOR: Final = 200
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No clock that is set shows an earlier time: routers with one that is not write 1970."""

LATEST_AHEAD: Final = timedelta(hours=24)

_SOURCES: Final[Mapping[str, Source]] = {source: source for source in get_args(Source)}
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}\Z")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
# How a device is talked to, where that is no platform of its own: its texts are those of another.
_TEXTS_OF: Final = {"vtysh": "frr"}
_PLATFORM = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z .()_+-]{0,63}\Z")
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,127}\Z")
_UPLOAD = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")
# ESC is refused too: escape codes come from terminals, not from configurations.
# C0 but for tab, line feed, vertical tab, form feed and carriage return; and DEL. ETX is text too:
# with this byte (Ctrl-C) IOS marks where a banner begins and ends. In UTF-8 these bytes stand for
# nothing else, and bytes are looked through four times faster than text.
_CONTROL: Final = bytes((*range(0x03), *range(0x04, 0x09), *range(0x0E, 0x20), 0x7F))


class ConfigParts(Struct, frozen=True):
    """The text came in `count` parts of the upload `upload`."""

    upload: str
    count: int


class IntakeObservation(Struct, frozen=True, kw_only=True):
    """A reading of one device's configuration, as sent. `collected_at` is in UTC.

    `config_text` is None if and only if `config_parts` says where the text is.
    """

    device_id: str
    tenant_id: str
    sha256_hash: str
    config_text: str | None
    config_parts: ConfigParts | None
    collected_at: datetime
    normalization_version: int | None = None
    routeros_version: str | None = None
    platform: str | None = None
    source: Source = "scheduled"
    trigger_id: str | None = None
    author: str | None = None
    device_history: DeviceHistory | None = None


class IntakeFailure(Struct, frozen=True, kw_only=True):
    """A reading that failed, as sent. `attempted_at` is in UTC."""

    device_id: str
    tenant_id: str
    kind: str
    message: str
    attempted_at: datetime
    attempt: int = 1
    source: Source = "scheduled"
    trigger_id: str | None = None


def parse_observation(body: bytes, now: datetime) -> IntakeObservation:
    """The observation in a message's JSON body. Its text is for `check_text`, however it came.

    Unknown fields are ignored, and null is the same as absent. Raises `InvalidInput`.
    """
    fields = decode_object(body)
    tenant_id = check_tenant_id(required(fields, "tenant_id", str))
    device_id = check_device_id(required(fields, "device_id", str))
    collected_at = _plausible(fields, "collected_at", now)
    sha256_hash = required(fields, "sha256_hash", str)
    if not _SHA256.match(sha256_hash):
        raise InvalidInput("sha256_hash", "must be a SHA-256 in 64 hexadecimal digits")
    text = optional(fields, "config_text", str)
    parts = _parts(fields)
    if text is not None and parts is not None:
        raise InvalidInput("config_parts", "must not come together with config_text")
    if text is None and parts is None:
        raise InvalidInput("config_text", "is missing")
    return IntakeObservation(
        device_id=device_id,
        tenant_id=tenant_id,
        sha256_hash=sha256_hash.lower(),
        config_text=text,
        config_parts=parts,
        collected_at=collected_at,
        normalization_version=whole_number(fields, "normalization_version", 0, 2**31 - 1),
        routeros_version=matching(
            fields,
            "routeros_version",
            _VERSION,
            "must be a version such as 7.14.3, of at most 64 characters",
        ),
        platform=_platform(fields),
        source=_source(fields),
        trigger_id=_trigger_id(fields),
        author=_author(fields),
        device_history=parse_device_history(fields),
    )


def _platform(fields: dict[str, object]) -> str | None:
    name = matching(
        fields,
        "platform",
        _PLATFORM,
        "must be 1 to 32 lower-case letters, digits, '_' or '-', beginning with a letter",
    )
    return None if name is None else _TEXTS_OF.get(name, name)


def check_text(text: str, sha256_hash: str) -> bytes:
    """A configuration text's UTF-8 bytes, when it is one and has that SHA-256 (hex).

    Raises `InvalidInput` for text that is empty, binary, a web page, longer than `MAX_TEXT` or not
    the one that the hash was taken of.
    """
    if len(text) > MAX_TEXT:
        raise _too_long()
    if not text.lstrip("\ufeff") or text.lstrip("\ufeff").isspace():
        raise InvalidInput("config_text", "must not be empty or only blanks")
    if is_web_page(text):
        raise InvalidInput(
            "config_text",
            "must be a configuration, not a web page: what was asked for it answered with a login "
            "page or an error, so ask again, with a login or at another address",
        )
    encoded = _utf8(text)
    if encoded is None:
        raise InvalidInput("config_text", "must be Unicode text: it holds half of a surrogate pair")
    if len(encoded.translate(None, _CONTROL)) != len(encoded):
        line, control = _first_control(encoded)
        raise InvalidInput(
            "config_text",
            f"must be text, not binary: line {line} holds the control character U+{control:04X}",
        )
    if len(encoded) > MAX_TEXT:
        raise _too_long()
    if hashlib.sha256(encoded).hexdigest() != sha256_hash.lower():
        raise InvalidInput("sha256_hash", "must be the SHA-256 of config_text in UTF-8; it is not")
    return encoded


def _first_control(encoded: bytes) -> tuple[int, int]:
    """The line, from 1, of the first control character, and its code."""
    at = next(index for index, byte in enumerate(encoded) if byte in _CONTROL)
    return encoded.count(b"\n", 0, at) + 1, encoded[at]


def parse_failure(body: bytes, now: datetime) -> IntakeFailure:
    """The failed reading in a message's JSON body. Raises `InvalidInput`."""
    fields = decode_object(body)
    tenant_id = check_tenant_id(required(fields, "tenant_id", str))
    device_id = check_device_id(required(fields, "device_id", str))
    kind = required(fields, "kind", str)
    if not _KIND.match(kind):
        raise InvalidInput(
            "kind", "must be 1 to 40 lower-case letters, digits or '_', beginning with a letter"
        )
    message = required(fields, "message", str)
    if not 1 <= len(message) <= MAX_MESSAGE or not message.isprintable():
        raise InvalidInput("message", f"must be 1 to {MAX_MESSAGE} printable characters")
    attempt = whole_number(fields, "attempt", 1, 2**31 - 1)
    return IntakeFailure(
        device_id=device_id,
        tenant_id=tenant_id,
        kind=kind,
        message=message,
        attempted_at=_plausible(fields, "attempted_at", now),
        attempt=1 if attempt is None else attempt,
        source=_source(fields),
        trigger_id=_trigger_id(fields),
    )


def claimed_identity(body: bytes) -> tuple[str | None, str | None]:
    """Tenant and device that a refused body names, each None when it names no valid one."""
    try:
        fields = decode_object(body)
    except InvalidInput:
        return None, None
    return _claimed(fields, "tenant_id"), _claimed(fields, "device_id")


def claimed_parts(body: bytes) -> ConfigParts | None:
    """The upload that a body names, None when it names none or is refused for it."""
    try:
        return _parts(decode_object(body))
    except InvalidInput:
        return None


def _claimed(fields: dict[str, object], name: str) -> str | None:
    check = check_tenant_id if name == "tenant_id" else check_device_id
    try:
        return check(required(fields, name, str))
    except InvalidInput:
        return None


def _plausible(fields: dict[str, object], name: str, now: datetime) -> datetime:
    at = moment(fields, name)
    if at < EARLIEST:
        raise InvalidInput(name, "must not lie before the year 2000: the sender's clock is not set")
    if at - now > LATEST_AHEAD:
        raise InvalidInput(
            name, "must not lie more than 24 hours ahead: the sender's clock is wrong"
        )
    return at


def _parts(fields: dict[str, object]) -> ConfigParts | None:
    parts = optional(fields, "config_parts", dict)
    if parts is None:
        return None
    upload, count = parts.get("upload"), parts.get("count")
    if not isinstance(upload, str) or not _UPLOAD.match(upload):
        raise InvalidInput("config_parts.upload", "must be 1 to 64 letters, digits, '_' or '-'")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_PARTS:
        raise InvalidInput(
            "config_parts.count", f"must be a whole number between 1 and {MAX_PARTS}"
        )
    return ConfigParts(upload, count)


def _source(fields: dict[str, object]) -> Source:
    name = optional(fields, "source", str)
    source = _SOURCES.get("scheduled" if name is None else name)
    if source is None:
        raise InvalidInput("source", f"must be one of {', '.join(_SOURCES)}")
    return source


def _trigger_id(fields: dict[str, object]) -> str | None:
    return matching(
        fields, "trigger_id", _ID, "must be 1 to 128 letters, digits, '.', '_', ':' or '-'"
    )


def _author(fields: dict[str, object]) -> str | None:
    author = optional(fields, "author", str)
    if author is not None and not (1 <= len(author) <= MAX_AUTHOR and author.isprintable()):
        raise InvalidInput("author", f"must be 1 to {MAX_AUTHOR} printable characters")
    return author


def _utf8(text: str) -> bytes | None:
    """The text in UTF-8, None when it can't be: the error itself would carry the text along."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


def _too_long() -> InvalidInput:
    return InvalidInput("config_text", f"must be at most {MAX_TEXT} bytes (64 MiB) of UTF-8")
