"""Private keys that nobody has: they are refused for what they say of themselves."""

from __future__ import annotations

import base64
from typing import Final

import pytest
from asyncssh.asn1 import ObjectIdentifier, der_encode

from adapters.ssh.failures import DeviceUnread
from adapters.ssh.key_rounds import MOST_OF_OTHERS, too_many_rounds
from adapters.ssh.private_keys import private_key

PBES2: Final = ObjectIdentifier("1.2.840.113549.1.5.13")
PBKDF2: Final = ObjectIdentifier("1.2.840.113549.1.5.12")
AES: Final = (ObjectIdentifier("2.16.840.1.101.3.4.1.42"), bytes(16))


def armoured(raw: bytes) -> str:
    name = "ENCRYPTED PRIVATE KEY"
    text = base64.encodebytes(raw).decode()
    return f"-----BEGIN {name}-----\n{text}-----END {name}-----\n"


def encrypted(rounds: int, *length: int) -> str:
    """A key of PKCS 8 that says how its passphrase becomes so long a key."""
    algorithm = (PBES2, ((PBKDF2, (bytes(8), rounds, *length)), AES))
    return armoured(der_encode((algorithm, bytes(64))))


@pytest.mark.parametrize("length", [(), (32,), (64,)])
def test_as_many_rounds_as_anybody_needs_are_gone(length: tuple[int, ...]) -> None:
    assert too_many_rounds(encrypted(MOST_OF_OTHERS, *length)) is None
    assert too_many_rounds(encrypted(MOST_OF_OTHERS + 1, *length)) == MOST_OF_OTHERS + 1


@pytest.mark.parametrize("length", [100_000, MOST_OF_OTHERS, MOST_OF_OTHERS + 1])
def test_a_passphrase_is_not_stretched_to_a_key_of_megabytes(length: int) -> None:
    """Each 20 bytes of it take all rounds."""
    assert too_many_rounds(encrypted(2_048, length)) == 2_048 * length


def nested(times: int) -> bytes:
    raw = b""
    for _ in range(times):
        size = len(raw).to_bytes(4, "big")
        raw = b"\x30\x84" + size + raw
    return raw


@pytest.mark.parametrize("text", [armoured(nested(5_000)), encrypted(-1)], ids=["nested", "less"])
async def test_what_is_no_key_is_told_as_a_credential_that_is_none(text: str) -> None:
    with pytest.raises(DeviceUnread, match="the private key can't be read") as caught:
        await private_key(text, "a passphrase")
    assert caught.value.kind == "no_credential"
