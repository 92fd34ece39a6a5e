"""The blob format: round trips, known answers, and refusal of everything that was touched."""

from __future__ import annotations

import hashlib
import hmac

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from adapters.crypto import blob, committed
from adapters.crypto.blob import BlobContext, seal, unseal
from adapters.crypto.keys import TenantKeys
from domain.errors import CommitmentMismatch, ContentCorrupt, InvalidInput

KEYS = TenantKeys(bytes(range(16)), bytes(range(32)), bytes(range(32, 64)))
CONTEXT = BlobContext("acme", "edge-1", "snapshot")
TEXT = b"/interface bridge\nadd name=bridge1\n"
SALT = bytes(range(100, 132))
CONTENT_SALT = bytes(range(200, 232))
HEADER = {"version": 0, "codec": 1, "key id": 2, "salt": 18, "commit": 50, "ciphertext": 82}

KNOWN_COMMITMENT = "3acad1e2ed3922ef8eb25aeed14ec7dbe296f2492f53ca3be803013def3ce5b7"
KNOWN_BLOB = (
    "0101000102030405060708090a0b0c0d0e0f6465666768696a6b6c6d6e6f707172737475767778797a7b7c7d"
    "7e7f808182838ce067bf8771aa2eccaffd16664eaa37ca134543ec611c8068d6a0b550fe71df3136b401e9e0"
    "910993bf12901092e36e85d782add6105955573005152bb563652c7dbaf6d5588449cf5a0c3ea91921b81d90"
    "1c604a11f5e7f29da6270529d525216890a49939a6d0694aa2675f33b177d7ebdfd4cdfe748d3cfe157a"
)


def hkdf_sha512(key: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 by hand, for 64 bytes of output: one block."""
    extracted = hmac.digest(salt, key, "sha512")
    return hmac.digest(extracted, info + b"\x01", "sha512")


def additional_data(commitment: bytes) -> bytes:
    fields = (b"\x01", b"acme", b"edge-1", b"snapshot", commitment, b"\x01", KEYS.key_id)
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


@given(st.binary(max_size=2000))
def test_a_text_comes_back(text: bytes) -> None:
    sealed, commitment = seal(KEYS, CONTEXT, text)
    assert unseal(KEYS, CONTEXT, sealed, commitment, sequence=1) == text


def test_the_same_text_is_never_sealed_twice_alike() -> None:
    first, second = seal(KEYS, CONTEXT, TEXT), seal(KEYS, CONTEXT, TEXT)
    assert first[1] != second[1]
    assert first[0][18:50] != second[0][18:50]
    assert first[0][82:] != second[0][82:]


def test_a_known_blob_opens() -> None:
    found = unseal(KEYS, CONTEXT, bytes.fromhex(KNOWN_BLOB), KNOWN_COMMITMENT, sequence=1)
    assert found == TEXT


def test_known_salts_give_the_known_header_and_commitment() -> None:
    # The packed text depends on the version of zstd; all in front of it does not.
    sealed, commitment = blob._seal(KEYS, CONTEXT, TEXT, SALT, CONTENT_SALT)
    assert commitment == KNOWN_COMMITMENT
    assert sealed[:82].hex() == KNOWN_BLOB[:164]


def test_the_format_can_be_read_from_its_description() -> None:
    sealed, commitment = blob._seal(KEYS, CONTEXT, TEXT, SALT, CONTENT_SALT)
    assert sealed[:2] == b"\x01\x01"
    assert sealed[2:18] == KEYS.key_id
    assert sealed[18:50] == SALT
    derived = hkdf_sha512(KEYS.content_key, SALT, b"configtrail/blob/v1")
    assert sealed[50:82] == derived[32:]
    plain = AESGCM(derived[:32]).decrypt(
        bytes(12), sealed[82:], additional_data(bytes.fromhex(commitment))
    )
    assert plain[:32] == CONTENT_SALT
    assert zstandard.decompress(plain[32:]) == TEXT
    assert hashlib.sha256(CONTENT_SALT + TEXT).hexdigest() == commitment


@pytest.mark.parametrize("position", range(len(blob._seal(KEYS, CONTEXT, TEXT, SALT, SALT)[0])))
def test_any_flipped_byte_is_seen(position: int) -> None:
    sealed, commitment = seal(KEYS, CONTEXT, TEXT)
    touched = bytearray(sealed)
    touched[position % len(sealed)] ^= 0x10
    with pytest.raises(ContentCorrupt):
        unseal(KEYS, CONTEXT, bytes(touched), commitment, sequence=1)


@pytest.mark.parametrize("field", ["version", "codec"])
@pytest.mark.parametrize("value", [0, 2, 255])
def test_unknown_versions_and_codecs_are_refused_by_name(field: str, value: int) -> None:
    sealed, commitment = seal(KEYS, CONTEXT, TEXT)
    touched = bytearray(sealed)
    touched[HEADER[field]] = value
    with pytest.raises(ContentCorrupt, match=f"{field} {value} is not known"):
        unseal(KEYS, CONTEXT, bytes(touched), commitment, sequence=1)


@given(st.data())
def test_a_cut_or_prolonged_blob_is_refused(data: st.DataObject) -> None:
    sealed, commitment = seal(KEYS, CONTEXT, TEXT)
    length = data.draw(st.integers(0, len(sealed) - 1))
    for touched in (sealed[:length], sealed + bytes(1 + length)):
        with pytest.raises(ContentCorrupt):
            unseal(KEYS, CONTEXT, touched, commitment, sequence=1)


@pytest.mark.parametrize(
    "elsewhere",
    [
        BlobContext("acme2", "edge-1", "snapshot"),
        BlobContext("acme", "edge-2", "snapshot"),
        BlobContext("acme", "edge-1", "diff"),
        BlobContext("acmee", "dge-1", "snapshot"),
        BlobContext("acme", "edge-1s", "napshot"),
    ],
)
def test_a_blob_opens_only_where_it_was_put(elsewhere: BlobContext) -> None:
    sealed, commitment = seal(KEYS, CONTEXT, TEXT)
    with pytest.raises(ContentCorrupt, match="another device"):
        unseal(KEYS, elsewhere, sealed, commitment, sequence=1)


def test_a_blob_opens_only_with_its_own_commitment() -> None:
    first, _ = seal(KEYS, CONTEXT, TEXT)
    _, second = seal(KEYS, CONTEXT, TEXT)
    with pytest.raises(ContentCorrupt):
        unseal(KEYS, CONTEXT, first, second, sequence=1)


@pytest.mark.parametrize("commitment", ["", "zz", "00", "00" * 31, "00" * 33, "é" * 64])
def test_a_malformed_commitment_is_refused(commitment: str) -> None:
    with pytest.raises(ContentCorrupt):
        unseal(KEYS, CONTEXT, seal(KEYS, CONTEXT, TEXT)[0], commitment, sequence=1)


@pytest.mark.parametrize("same_id", [True, False])
def test_another_key_is_told_apart_from_damage(same_id: bool) -> None:
    sealed, commitment = seal(KEYS, CONTEXT, TEXT)
    other = TenantKeys.generate()
    if same_id:
        other = TenantKeys(KEYS.key_id, other.content_key, other.fingerprint_key)
    with pytest.raises(CommitmentMismatch) as refused:
        unseal(other, CONTEXT, sealed, commitment, sequence=7)
    assert refused.value.sequence == 7


def forged(text: bytes, packed: bytes) -> tuple[bytes, str]:
    """A blob as somebody with the tenant's key could make it, with anything as its packed text."""
    commitment = hashlib.sha256(CONTENT_SALT + text).digest()
    sealed = committed.seal(
        KEYS.content_key,
        b"configtrail/blob/v1",
        additional_data(commitment),
        CONTENT_SALT + packed,
        SALT,
    )
    return b"\x01\x01" + KEYS.key_id + sealed, commitment.hex()


def unsized(text: bytes) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(text) + packer.flush()


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"not a frame",
        zstandard.compress(TEXT)[:-1],
        zstandard.compress(TEXT) + b"\0",
        zstandard.compress(TEXT) * 2,
        unsized(TEXT),
    ],
    ids=["empty", "noise", "cut", "prolonged", "two frames", "without its size"],
)
def test_what_is_not_exactly_one_sized_frame_is_refused(packed: bytes) -> None:
    with pytest.raises(ContentCorrupt):
        unseal(KEYS, CONTEXT, *forged(TEXT, packed), sequence=1)


def test_a_frame_that_unpacks_beyond_the_limit_is_refused_before_unpacking() -> None:
    bomb = zstandard.compress(bytes(blob.MAX_TEXT + 1))
    assert len(bomb) < 10_000
    with pytest.raises(ContentCorrupt, match="at most"):
        unseal(KEYS, CONTEXT, *forged(b"", bomb), sequence=1)


def test_a_text_other_than_the_committed_one_is_refused() -> None:
    with pytest.raises(ContentCorrupt, match="committed"):
        unseal(KEYS, CONTEXT, *forged(TEXT, zstandard.compress(TEXT + b"#")), sequence=1)


def test_a_text_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InvalidInput, match=str(blob.MAX_TEXT)):
        seal(KEYS, CONTEXT, bytes(blob.MAX_TEXT + 1))
