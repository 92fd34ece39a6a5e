"""The format in which texts are kept, version 1.

    blob = version (1) ‖ codec (1) ‖ key id (16) ‖ salt (32) ‖ commit (32) ‖ ciphertext ‖ tag (16)
    plaintext = content salt (32) ‖ codec(text)
    commitment = SHA-256(content salt ‖ text)

Sealed as in `committed`, with the device's content key and the purpose `configtrail/blob/v1`. Bound
to it, each with an 8-byte length in front: version, tenant, device, kind, commitment, codec, key
id. So a blob opens only where it was put, and only as the text that its event committed to.
The commitment is public and the content salt is not: it proves a text without helping to guess it.
A text's compressed length shows through.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from typing import Final

import zstandard
from msgspec import Struct

from adapters.crypto import committed
from adapters.crypto.committed import SALT_BYTES, Unsealable
from adapters.crypto.keys import KEY_ID_BYTES, TenantKeys
from domain.errors import CommitmentMismatch, ContentCorrupt, InvalidInput

VERSION: Final = 1
CODEC_ZSTD: Final = 1
# 64 MiB of text, and room for what is kept around a message of that length.
MAX_TEXT: Final = 64 * 1024 * 1024 + 64 * 1024
_HEADER: Final = 2 + KEY_ID_BYTES
_PURPOSE: Final = b"configtrail/blob/v1"
_LEVEL: Final = 3
# The largest blob that a text within the limit can give: zstd adds less than 1 % to noise.
MAX_BLOB: Final = _HEADER + committed.OVERHEAD + SALT_BYTES + MAX_TEXT + MAX_TEXT // 100 + 1024


class BlobContext(Struct, frozen=True):
    """What a blob is bound to. Reserved tenant names begin with `_`, as no tenant id does."""

    tenant_id: str
    device_id: str
    kind: str


class _Zstd(threading.local):
    """Compressors are not for several threads, and reusing one is nearly twice as fast."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _Zstd()


def seal(keys: TenantKeys, context: BlobContext, text: bytes) -> tuple[bytes, str]:
    """The blob of a text, and the commitment to the text (hex).

    Raises `InvalidInput` for a text of more than `MAX_TEXT` bytes.
    """
    return _seal(keys, context, text, committed.new_salt(), committed.new_salt())


def key_id_of(blob: bytes) -> bytes:
    """The id of the key that a blob is sealed under, as it says itself."""
    return blob[2:_HEADER]


def unseal(
    keys: TenantKeys, context: BlobContext, blob: bytes, commitment: str, *, sequence: int
) -> bytes:
    """The text of a blob, verified against its context and the commitment.

    Raises `CommitmentMismatch` when it is sealed under another key than `keys`, and
    `ContentCorrupt` for everything else that is off; `sequence` names the blob in them.
    """
    return decrypt(keys, context, blob, commitment, sequence=sequence).text()


def decrypt(
    keys: TenantKeys, context: BlobContext, blob: bytes, commitment: str, *, sequence: int
) -> Packed:
    """The first half of `unseal`, whose work goes by the blob's length. Raises as that does."""
    if len(blob) < _HEADER + committed.OVERHEAD:
        raise ContentCorrupt(sequence, "it is too short for a blob")
    version, codec, key_id = blob[0], blob[1], blob[2:_HEADER]
    if version != VERSION:
        raise ContentCorrupt(sequence, f"blob version {version} is not known here")
    if codec != CODEC_ZSTD:
        raise ContentCorrupt(sequence, f"codec {codec} is not known here")
    if key_id != keys.key_id:
        raise CommitmentMismatch(sequence)
    wanted = _commitment_bytes(commitment, sequence)
    aad = _aad(context, wanted, key_id)
    try:
        plaintext = committed.unseal(keys.content_key, _PURPOSE, aad, memoryview(blob)[_HEADER:])
    except Unsealable as error:
        if error.other_key:
            raise CommitmentMismatch(sequence) from error
        raise ContentCorrupt(
            sequence, "it was altered, or belongs to another device, kind or event"
        ) from error
    return Packed(plaintext, wanted, sequence)


class Packed:
    """A blob's decrypted plaintext. `size` is the length that its text is said to have, within
    the limit; `text` is the second half of `unseal`, whose work goes by that length. `salt` is what
    opens the commitment for whoever may see the text."""

    def __init__(self, plaintext: bytes, commitment: bytes, sequence: int) -> None:
        self.salt = plaintext[:SALT_BYTES]
        self._frame = memoryview(plaintext)[SALT_BYTES:]
        self._commitment = commitment
        self._sequence = sequence
        try:
            self.size = zstandard.frame_content_size(self._frame)
        except zstandard.ZstdError as error:
            raise ContentCorrupt(sequence, "it does not hold a zstd frame") from error
        # -1 means that the frame does not say, which no blob of ours does.
        if not 0 <= self.size <= MAX_TEXT:
            raise ContentCorrupt(sequence, f"its text must be at most {MAX_TEXT} bytes")

    def text(self) -> bytes:
        """The text, checked against the commitment. Raises `ContentCorrupt`."""
        try:
            text = _zstd.decompressor.decompress(
                self._frame, max_output_size=MAX_TEXT, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise ContentCorrupt(self._sequence, "it does not hold one zstd frame") from error
        if not hmac.compare_digest(_commit(self.salt, text), self._commitment):
            raise ContentCorrupt(self._sequence, "the text is not the one that was committed to")
        return text


def _seal(
    keys: TenantKeys, context: BlobContext, text: bytes, salt: bytes, content_salt: bytes
) -> tuple[bytes, str]:
    if len(text) > MAX_TEXT:
        raise InvalidInput("text", f"must be at most {MAX_TEXT} bytes, is {len(text)}")
    commitment = _commit(content_salt, text)
    plaintext = content_salt + _zstd.compressor.compress(text)
    aad = _aad(context, commitment, keys.key_id)
    sealed = committed.seal(keys.content_key, _PURPOSE, aad, plaintext, salt)
    return b"".join((bytes((VERSION, CODEC_ZSTD)), keys.key_id, sealed)), commitment.hex()


def _commit(content_salt: bytes, text: bytes) -> bytes:
    digest = hashlib.sha256(content_salt)
    digest.update(text)
    return digest.digest()


def _aad(context: BlobContext, commitment: bytes, key_id: bytes) -> bytes:
    return committed.bound(
        bytes((VERSION,)),
        context.tenant_id.encode(),
        context.device_id.encode(),
        context.kind.encode(),
        commitment,
        bytes((CODEC_ZSTD,)),
        key_id,
    )


def _commitment_bytes(commitment: str, sequence: int) -> bytes:
    try:
        raw = bytes.fromhex(commitment)
    except ValueError as error:
        raise ContentCorrupt(sequence, "its commitment is not hex") from error
    if len(raw) != hashlib.sha256().digest_size:
        raise ContentCorrupt(sequence, "its commitment is not a SHA-256")
    return raw
