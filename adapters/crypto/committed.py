"""Authenticated encryption that commits to its key: the one primitive under blobs and keys.

    sealed = salt (32) ‖ commit (32) ‖ AES-256-GCM(K, nonce 0, plaintext, AAD)
    K ‖ commit = HKDF-SHA512(key, salt, purpose), 32 bytes each

Every sealing has its own random salt, so every K is used once and the constant nonce never repeats
under a key. AES-GCM alone (NIST SP 800-38D) lets one ciphertext open under two keys; comparing
`commit` first, in constant time, leaves one key for each ciphertext.
"""

from __future__ import annotations

import hmac
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.errors import ConfigtrailError

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
_COMMIT_BYTES: Final = 32
_TAG_BYTES: Final = 16
_NONCE: Final = bytes(12)
OVERHEAD: Final = SALT_BYTES + _COMMIT_BYTES + _TAG_BYTES


class Unsealable(ConfigtrailError):
    """Sealed bytes don't open. `other_key`: they were sealed under another key, or their salt or
    commitment was altered; else what they hold, or what they are bound to, was altered."""

    def __init__(self, *, other_key: bool) -> None:
        super().__init__("sealed under another key" if other_key else "altered, cut or moved")
        self.other_key = other_key


def bound(*fields: bytes) -> bytes:
    """Additional data: length-prefixed fields, so that no two lists of fields are equal bytes."""
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


def new_salt() -> bytes:
    """A fresh random salt."""
    return os.urandom(SALT_BYTES)


def seal(key: bytes, purpose: bytes, aad: bytes, plaintext: bytes, salt: bytes) -> bytes:
    """`plaintext`, sealed and bound to `aad`. `salt` must be fresh from `new_salt`."""
    once, commit = _derive(key, purpose, salt)
    return b"".join((salt, commit, AESGCM(once).encrypt(_NONCE, plaintext, aad)))


def unseal(key: bytes, purpose: bytes, aad: bytes, sealed: memoryview | bytes) -> bytes:
    """What `seal` was given. Raises `Unsealable`."""
    if len(sealed) < OVERHEAD:
        raise Unsealable(other_key=False)
    view = memoryview(sealed)
    salt, commit, body = view[:32], view[32:64], view[64:]
    once, expected = _derive(key, purpose, bytes(salt))
    if not hmac.compare_digest(commit, expected):
        raise Unsealable(other_key=True)
    try:
        return AESGCM(once).decrypt(_NONCE, body, aad)
    except InvalidTag as error:
        raise Unsealable(other_key=False) from error


def _derive(key: bytes, purpose: bytes, salt: bytes) -> tuple[bytes, bytes]:
    both = HKDF(SHA512(), length=KEY_BYTES + _COMMIT_BYTES, salt=salt, info=purpose).derive(key)
    return both[:KEY_BYTES], both[KEY_BYTES:]
