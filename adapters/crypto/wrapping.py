"""Wrapped keys: a tenant's or a device's, sealed under the master key.

    wrapped = version (1) ‖ master id (16) ‖ key id (16) ‖ salt (32) ‖ commit (32)
              ‖ AES-256-GCM(content key (32) ‖ fingerprint key (32)) ‖ tag (16)

Sealed as in `committed`, under a key derived from the master key; bound to it: version, tenant,
master id, key id. The master id is derived from the master key, so that a wrong master key is told
apart from a damaged store.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from msgspec import Struct

from adapters.crypto import committed
from adapters.crypto.committed import KEY_BYTES, Unsealable
from adapters.crypto.master import MASTER_ID_BYTES, MasterKey
from domain.errors import KeyUnavailable

KEY_ID_BYTES: Final = 16
_VERSION: Final = 1
_HEADER: Final = 1 + MASTER_ID_BYTES + KEY_ID_BYTES
_PURPOSE: Final = b"configtrail/wrap/v1"


class TenantKeys(Struct, frozen=True):
    """A tenant's keys: `content_key` seals texts, `fingerprint_key` keys fingerprints and ids."""

    key_id: bytes
    content_key: bytes
    fingerprint_key: bytes

    def __repr__(self) -> str:
        return f"TenantKeys({self.key_id.hex()[:8]}…)"

    @classmethod
    def generate(cls, key_id: bytes | None = None) -> TenantKeys:
        """New random keys."""
        return cls(key_id or os.urandom(KEY_ID_BYTES), os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))


def device_key_id(tenant_id: str, device_id: str, era: int) -> bytes:
    """The id of a device's key: `era` counts how often its texts were erased before."""
    parts = (
        b"configtrail/device-key/v1",
        tenant_id.encode(),
        device_id.encode(),
        str(era).encode(),
    )
    return hashlib.sha256(committed.bound(*parts)).digest()[:KEY_ID_BYTES]


def device_key_name(tenant_id: str, device_id: str, key_id: bytes) -> str:
    """The name that a device's key is kept under. Neither a tenant's id nor hex has a slash."""
    return f"{tenant_id}/{key_id.hex()}/{device_id}"


def wrap(master: MasterKey, tenant: str, keys: TenantKeys) -> bytes:
    """A tenant's keys, wrapped under the master key."""
    header = bytes((_VERSION,)) + master.master_id + keys.key_id
    plaintext = keys.content_key + keys.fingerprint_key
    return header + committed.seal(
        master.derive("wrap"), _PURPOSE, _aad(tenant, header), plaintext, committed.new_salt()
    )


def unwrap(master: MasterKey, tenant: str, wrapped: bytes) -> TenantKeys:
    """The keys that `wrap` was given. Raises `KeyUnavailable`, with what to do about it."""
    name = f"the keys of {tenant}"
    header, sealed = wrapped[:_HEADER], memoryview(wrapped)[_HEADER:]
    if header[:1] != bytes((_VERSION,)):
        raise KeyUnavailable(name, "they are wrapped in a way that this version does not know")
    master_id, key_id = header[1 : 1 + MASTER_ID_BYTES], header[1 + MASTER_ID_BYTES :]
    if master_id != master.master_id:
        raise KeyUnavailable(
            name,
            f"they are wrapped under the master key {master_id.hex()[:8]}…, and this program was "
            f"given {master.master_id.hex()[:8]}…; start it with the right one (CONFIGTRAIL_"
            "MASTER_KEY, or the key file)",
        )
    try:
        plaintext = committed.unseal(master.derive("wrap"), _PURPOSE, _aad(tenant, header), sealed)
    except Unsealable as error:
        raise KeyUnavailable(
            name, "they were damaged or exchanged; restore the bucket of keys from a copy"
        ) from error
    if len(plaintext) != 2 * KEY_BYTES:
        raise KeyUnavailable(name, "they do not have the length of keys")
    return TenantKeys(key_id, plaintext[:KEY_BYTES], plaintext[KEY_BYTES:])


def _aad(tenant: str, header: bytes) -> bytes:
    return committed.bound(
        header[:1],
        tenant.encode(),
        header[1 : 1 + MASTER_ID_BYTES],
        header[1 + MASTER_ID_BYTES :],
    )
