"""Which algorithms are spoken with devices, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.ssh.target import Trust

# The pinned key's own kind is asked for first, so that a router which got a second key after an
# upgrade still shows the one that is known.
_HOST_KEYS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-rsa",
)
_EXCHANGES: Final = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
)
# AES-GCM first: the processor does it, and as one operation a packet.
ENCRYPTION: Final = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
# Only for devices of which the inventory says that they know nothing better: each of these can be
# broken, by somebody on the way, with effort.
_LEGACY_ENCRYPTION: Final = ("aes256-cbc", "aes192-cbc", "aes128-cbc", "3des-cbc")
_LEGACY_EXCHANGES: Final = (
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group1-sha1",
)
_LEGACY_HOST_KEYS: Final = ("ssh-dss",)
_OF_RSA: Final = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")


def host_key_algorithms(trust: Trust, *, legacy: bool) -> list[str]:
    """How a device may prove its host key, that which is pinned first."""
    known = _with_legacy(_HOST_KEYS, _LEGACY_HOST_KEYS, legacy=legacy)
    if trust.pinned is None:
        return known
    own = _of_kind(trust.pinned.algorithm)
    return [*own, *(one for one in known if one not in own)]


def without_kind(algorithms: Sequence[str], kind: str) -> list[str]:
    """Those of other kinds of host key: a device has at most one of each."""
    own = _of_kind(kind)
    return [one for one in algorithms if one not in own]


def exchanges(*, legacy: bool) -> list[str]:
    """The key exchanges."""
    return _with_legacy(_EXCHANGES, _LEGACY_EXCHANGES, legacy=legacy)


def encryption(*, legacy: bool) -> list[str]:
    """The ciphers."""
    return _with_legacy(ENCRYPTION, _LEGACY_ENCRYPTION, legacy=legacy)


def _of_kind(kind: str) -> tuple[str, ...]:
    """The algorithms of a kind of key, by the name that the key itself has."""
    return _OF_RSA if kind == "ssh-rsa" else (kind,)


def _with_legacy(usual: Sequence[str], weak: Sequence[str], *, legacy: bool) -> list[str]:
    """The weak ones come last: they are used when nothing else is to be had."""
    return [*usual, *weak] if legacy else list(usual)
