"""How often a private key has its passphrase hashed over: the key says so itself, and one that says
four billion would keep a thread busy for years, which nothing can end."""

from __future__ import annotations

from asyncssh.asn1 import der_decode
from asyncssh.packet import SSHPacket
from asyncssh.public_key import _match_next

_OPENSSH = b"openssh-key-v1\0"
# Of bcrypt; `ssh-keygen` uses 16 to 24, who is careful 100, which takes a second or two.
MOST_OF_BCRYPT = 4096
# Of PBKDF2 and the older ones; OpenSSL uses 2048, who is careful a million, which takes a second.
MOST_OF_OTHERS = 10_000_000


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
    """The largest number that stands with the algorithm of an encrypted key: the other ones are
    lengths."""
    match key:
        case (tuple() as algorithm, bytes()):
            return _largest(algorithm)
        case _:
            return 0


def _largest(found: object) -> int:
    if isinstance(found, tuple):
        return max(map(_largest, found), default=0)
    return found if isinstance(found, int) else 0
