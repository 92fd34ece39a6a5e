"""What reading one device needs to know: where it is, who we are there, and which key it has."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from msgspec import Struct

PORT: Final = 22
CONNECT_SECONDS: Final = 15.0
SILENCE_SECONDS: Final = 30.0
TOTAL_SECONDS: Final = 300.0


class Credential(Struct, frozen=True, kw_only=True):
    """Who we are at a device. Never shown: its `repr` names no secret.

    `private_key` is a key file's text. `agent`: keys of the SSH agent may be used. `enable` is the
    password of the privileged mode, where a device asks for one.
    """

    username: str | None = None
    password: str | None = None
    private_key: str | None = None
    passphrase: str | None = None
    enable: str | None = None
    agent: bool = False

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, …)"


class HostKey(Struct, frozen=True, kw_only=True):
    """A host's public key. `blob` is its SSH wire form (RFC 4253, 6.6) in base64."""

    algorithm: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """As OpenSSH shows it: `SHA256:…`."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


class Trust(Struct, frozen=True, kw_only=True):
    """Which key a device may show: the `pinned` one; without one, that with the `expected`
    fingerprint; without either, any (it is pinned then)."""

    pinned: HostKey | None = None
    expected: str | None = None

    def accepts(self, key: HostKey) -> bool:
        """Whether the device that shows this key is to be talked to."""
        if self.pinned is not None:
            return key.blob == self.pinned.blob
        return self.expected is None or key.fingerprint == self.expected

    @property
    def any_kind(self) -> bool:
        """Whether the one key that is accepted may be of any kind: a fingerprint does not tell."""
        return self.pinned is None and self.expected is not None


class Limits(Struct, frozen=True, kw_only=True):
    """How long is waited, in seconds: for the login, for the next byte, for everything."""

    connect: float = CONNECT_SECONDS
    silence: float = SILENCE_SECONDS
    total: float = TOTAL_SECONDS

    @classmethod
    def within(cls, total: float) -> Limits:
        """Those of a reading that may take so long in all. Who is given longer than usual may also
        be silent for longer: a slow device thinks for a while before it begins."""
        silence = SILENCE_SECONDS * max(1.0, total / TOTAL_SECONDS)
        return cls(silence=min(silence, total), total=total)


class Target(Struct, frozen=True, kw_only=True):
    """A device to read. `addresses` are tried in order; `via` is the host to jump over.
    `legacy`: also key exchanges and ciphers that are weak, of old devices that know no others."""

    name: str
    addresses: tuple[str, ...]
    port: int = PORT
    credential: Credential
    trust: Trust = Trust()
    limits: Limits = Limits()
    via: Target | None = None
    legacy: bool = False
