"""How often a private key has its passphrase hashed over: the key says so itself, and one that says
four billion would keep a thread busy for years, which nothing can end."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from asyncssh.asn1 import der_decode
from asyncssh.packet import SSHPacket
from asyncssh.public_key import _match_next

_OPENSSH = b"openssh-key-v1\0"
# Of bcrypt; `ssh-keygen` uses 16 to 24, who is careful 100, which takes a second or two.
MOST_OF_BCRYPT = 4096
# Of PBKDF2 and the older ones; OpenSSL uses 2048, who is careful a million, which takes a second.
MOST_OF_OTHERS = 10_000_000
# Of the keys of ciphers, in bytes, and more.
_LONGEST_KEY = 64


def too_many_rounds(text: str) -> int | None:
    """The rounds of a key file's passphrase, when they are more than anybody needs. Raises
    `ValueError` for what is no key file."""
    # The bytes that asyncssh will look at, and no others: it takes the first key of several.
    form, found, _ = _match_next(text.encode("ascii"), b"PRIVATE KEY")
    if form is None:
        return None
    if form == "der":
        return _beyond(MOST_OF_OTHERS, _of_pkcs_8(found[0]))
    name, headers, raw = found
    if name == b"OPENSSH":
        return _beyond(MOST_OF_BCRYPT, _of_openssh(raw))
    if b"Proc-Type" not in headers:
        return _beyond(MOST_OF_OTHERS, _of_pkcs_8(der_decode(raw)))
    if name == b"ENCRYPTED":
        raise ValueError("encrypted twice: the second rounds are not to be seen")
    return None  # encrypted as PEM: with one round


def _beyond(most: int, rounds: int) -> int | None:
    return rounds if rounds > most else None


def _of_openssh(raw: bytes) -> int:
    packet = SSHPacket(raw.removeprefix(_OPENSSH))
    packet.get_string()  # the cipher
    function, options = packet.get_string(), SSHPacket(packet.get_string())
    if function == b"none":
        return 0
    options.get_string()  # the salt
    return options.get_uint32()


def _of_pkcs_8(key: object) -> int:
    """What the numbers that stand with the algorithm of an encrypted key come to: the rounds, times
    the length of a key that is longer than that of any cipher, which takes them for each part."""
    match key:
        case (tuple() as algorithm, bytes()):
            return prod(one for one in _numbers(algorithm) if one > _LONGEST_KEY)
        case _:
            return 0


def _numbers(found: object) -> Iterator[int]:
    if isinstance(found, tuple):
        for one in found:
            yield from _numbers(one)
    elif isinstance(found, int):
        yield found
