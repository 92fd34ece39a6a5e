"""Identifiers: rules for those from outside, reversible subject tokens, deterministic own ones."""

from __future__ import annotations

import hmac
import re
import uuid
from datetime import UTC, datetime

from domain.errors import InvalidInput

TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?\Z")
DEVICE_MAX = 128
# Where what is told of a tenant as a whole stands, in place of a device: no device is called so.
TENANT_BRANCH = "_tenant"
_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+\Z")


def check_tenant_id(value: str) -> str:
    """`value`, or `InvalidInput` when it is not a tenant id."""
    if not TENANT.match(value):
        raise InvalidInput(
            "tenant_id",
            "must be 1 to 64 letters, digits, '.', '_' or '-', with a letter or digit at both ends",
        )
    return value


def check_device_id(value: str, field: str = "device_id") -> str:
    """`value`, or `InvalidInput` when it is not a device id."""
    if not value or len(value) > DEVICE_MAX:
        raise InvalidInput(field, f"must be 1 to {DEVICE_MAX} characters")
    if not value.isprintable() or value != value.strip():
        raise InvalidInput(field, "must be printable, without spaces at its ends")
    if value == TENANT_BRANCH:
        raise InvalidInput(field, f"must not be {TENANT_BRANCH}, which is kept for tenants")
    return value


def to_token(identifier: str) -> str:
    """One NATS subject token for any text: unsafe bytes become `=XX` (UTF-8, upper-case hex)."""
    if not identifier:
        raise ValueError("an empty identifier has no subject token")
    return "".join(
        char if char in _SAFE else "".join(f"={byte:02X}" for byte in char.encode())
        for char in identifier
    )


def from_token(token: str) -> str:
    """The text that `to_token` made `token` of; `ValueError` for anything else."""
    if not _TOKEN.match(token):
        raise ValueError("not a subject token")
    raw = re.sub(rb"=([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), token.encode())
    text = raw.decode()
    if to_token(text) != token:
        raise ValueError("not a subject token in its only form")
    return text


def keyed_digest(key: bytes, purpose: str, *parts: str | bytes) -> bytes:
    """HMAC-SHA256 over length-prefixed parts, so that no two lists of parts collide."""
    told: list[bytes] = []
    for part in (purpose, *parts):
        raw = part.encode() if isinstance(part, str) else part
        told += (len(raw).to_bytes(8, "big"), raw)
    return hmac.digest(key, b"".join(told), "sha256")


def observation_id(
    key: bytes, tenant_id: str, device_id: str, collected_at: datetime, sha256_hash: str
) -> str:
    """The observation's own id (128 bits, hex): equal for every delivery of the same observation.

    Keyed: with a plain hash in it anybody could test guesses of the text.
    """
    moment = collected_at.astimezone(UTC).isoformat(timespec="microseconds")
    digest = keyed_digest(key, "observation", tenant_id, device_id, moment, sha256_hash)
    return digest[:16].hex()


def text_fingerprint(key: bytes, sha256_hash: str) -> str:
    """Keyed stand-in for a text's SHA-256, fit for events and rows (hex)."""
    return keyed_digest(key, "text", sha256_hash).hex()


def canonical_fingerprint(key: bytes, canonical: str, canonical_text: str) -> str:
    """Keyed fingerprint of a canonical form under the rules `canonical` (hex)."""
    return keyed_digest(key, "canonical", canonical, canonical_text.encode()).hex()


def snapshot_id(observation: str) -> str:
    """The id of the snapshot that an observation creates."""
    return str(uuid.UUID(hex=observation))
