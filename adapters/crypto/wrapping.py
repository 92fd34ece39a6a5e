"""Wrapped keys: a tenant's or a device's, sealed under the master key.

    wrapped = version (1) ‖ master id (16) ‖ key id (16) ‖ salt (32) ‖ commit (32)
              ‖ AES-256-GCM(content key (32) ‖ fingerprint key (32) ‖ former) ‖ tag (16)
    former  = nothing in version 1; in version 2 (key id (16) ‖ content key (32)) once or more

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
from domain.errors import KeyUnavailable, MasterKeyUnknown

KEY_ID_BYTES: Final = 16
# The second came with rotation: whatever never was rotated stays readable to programs before it.
_VERSION: Final = 1
_VERSION_ROTATED: Final = 2
_FORMER_BYTES: Final = KEY_ID_BYTES + KEY_BYTES
_HEADER: Final = 1 + MASTER_ID_BYTES + KEY_ID_BYTES
_PURPOSE: Final = b"configtrail/wrap/v1"


class Former(Struct, frozen=True):
    """A content key that another one took the place of: nothing is sealed under it any more."""

    key_id: bytes
    content_key: bytes

    def __repr__(self) -> str:
        return f"Former({self.key_id.hex()[:8]}…)"


class TenantKeys(Struct, frozen=True):
    """A tenant's keys: `content_key` seals texts, `fingerprint_key` keys fingerprints and ids.

    Rotation makes a new `content_key`, and keeps the former ones for what is sealed under them.
    The fingerprint key stays: what was seen before would not be known again under another.
    """

    key_id: bytes
    content_key: bytes
    fingerprint_key: bytes
    former: tuple[Former, ...] = ()

    def __repr__(self) -> str:
        return f"TenantKeys({self.key_id.hex()[:8]}…)"

    @classmethod
    def generate(cls, key_id: bytes | None = None) -> TenantKeys:
        """New random keys."""
        return cls(key_id or os.urandom(KEY_ID_BYTES), os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))

    @property
    def generation(self) -> int:
        """How often the content key was rotated."""
        return len(self.former)

    def rotated(self) -> TenantKeys:
        """The same with a new content key; the one until now joins the former ones."""
        fresh = TenantKeys.generate()
        former = (*self.former, Former(self.key_id, self.content_key))
        return TenantKeys(fresh.key_id, fresh.content_key, self.fingerprint_key, former)

    def opening(self, key_id: bytes) -> TenantKeys:
        """The keys to open what is sealed under the key of that id: with a former content key, if
        it is one of those; else these."""
        for one in self.former:
            if one.key_id == key_id:
                return TenantKeys(one.key_id, one.content_key, self.fingerprint_key)
        return self


def device_key_id(tenant_id: str, device_id: str, era: int) -> bytes:
    """The id of a device's key: `era` counts how often its texts were erased before."""
    parts = (
        b"configtrail/device-key/v1",
        tenant_id.encode(),
        device_id.encode(),
        str(era).encode(),
    )
    return hashlib.sha256(committed.bound(*parts)).digest()[:KEY_ID_BYTES]


def generation_key_id(era_key_id: bytes, generation: int) -> bytes:
    """The id of a device's key in a generation of its tenant's keys. `era_key_id` is the one of
    `device_key_id`, which is that of the first generation: who has it finds the others."""
    if not generation:
        return era_key_id
    parts = (b"configtrail/device-key-generation/v1", era_key_id, str(generation).encode())
    return hashlib.sha256(committed.bound(*parts)).digest()[:KEY_ID_BYTES]


def device_key_name(tenant_id: str, device_id: str, key_id: bytes) -> str:
    """The name that a device's key is kept under. Neither a tenant's id nor hex has a slash."""
    return f"{tenant_id}/{key_id.hex()}/{device_id}"


def wrap(master: MasterKey, tenant: str, keys: TenantKeys) -> bytes:
    """A tenant's keys, wrapped under the master key."""
    version = _VERSION_ROTATED if keys.former else _VERSION
    header = bytes((version,)) + master.master_id + keys.key_id
    former = b"".join(one.key_id + one.content_key for one in keys.former)
    plaintext = keys.content_key + keys.fingerprint_key + former
    return header + committed.seal(
        master.derive("wrap"), _PURPOSE, _aad(tenant, header), plaintext, committed.new_salt()
    )


def master_id_of(wrapped: bytes) -> bytes:
    """The id of the master key that something is wrapped under, as it says itself."""
    return wrapped[1 : 1 + MASTER_ID_BYTES]


def key_id_of(wrapped: bytes) -> bytes:
    """The id of the content key of now, as wrapped keys say themselves."""
    return wrapped[1 + MASTER_ID_BYTES : _HEADER]


def generation_of(wrapped: bytes) -> int:
    """How often the content key was rotated, by the length of wrapped keys: whoever destroys them
    need not be able to open them."""
    plain = len(wrapped) - _HEADER - committed.OVERHEAD
    return max(0, (plain - 2 * KEY_BYTES) // _FORMER_BYTES)


def unwrap(master: MasterKey, tenant: str, wrapped: bytes) -> TenantKeys:
    """The keys that `wrap` was given. Raises `KeyUnavailable`, with what to do about it."""
    name = f"the keys of {tenant}"
    header, sealed = wrapped[:_HEADER], memoryview(wrapped)[_HEADER:]
    if header[:1] not in (bytes((_VERSION,)), bytes((_VERSION_ROTATED,))):
        raise KeyUnavailable(name, "they are wrapped in a way that this version does not know")
    master_id, key_id = master_id_of(wrapped), header[1 + MASTER_ID_BYTES :]
    if master_id != master.master_id:
        raise MasterKeyUnknown(
            name,
            f"they are wrapped under the master key {master_id.hex()[:8]}…, and this program was "
            f"given {master.master_id.hex()[:8]}…; start it with the right one (CONFIGTRAIL_"
            "MASTER_KEY, or the key file; while keys are being moved to a new one also "
            "CONFIGTRAIL_MASTER_KEY_OLD)",
        )
    try:
        plaintext = committed.unseal(master.derive("wrap"), _PURPOSE, _aad(tenant, header), sealed)
    except Unsealable as error:
        raise KeyUnavailable(
            name, "they were damaged or exchanged; restore the bucket of keys from a copy"
        ) from error
    rest = plaintext[2 * KEY_BYTES :]
    rotated = header[0] == _VERSION_ROTATED
    if len(plaintext) < 2 * KEY_BYTES or len(rest) % _FORMER_BYTES or rotated != bool(rest):
        raise KeyUnavailable(name, "they do not have the length of keys")
    return TenantKeys(
        key_id,
        plaintext[:KEY_BYTES],
        plaintext[KEY_BYTES : 2 * KEY_BYTES],
        tuple(
            Former(rest[at : at + KEY_ID_BYTES], rest[at + KEY_ID_BYTES : at + _FORMER_BYTES])
            for at in range(0, len(rest), _FORMER_BYTES)
        ),
    )


def _aad(tenant: str, header: bytes) -> bytes:
    return committed.bound(
        header[:1],
        tenant.encode(),
        header[1 : 1 + MASTER_ID_BYTES],
        header[1 + MASTER_ID_BYTES :],
    )
