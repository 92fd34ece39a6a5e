"""The log's signing key (Ed25519): the one secret whose holder can speak for the log.

It lies in a file of its own, apart from the data and from the master key: whoever has only the data
can't sign. Signatures are deterministic (RFC 8032), so signing the same checkpoint again after a
lost acknowledgement gives the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from adapters.embedded.files import sync_folder
from domain.errors import KeyUnavailable
from domain.tlog.checkpoint import Checkpoint
from domain.tlog.note import (
    COSIGNATURE,
    ED25519,
    Note,
    Signature,
    VerifierKey,
    cosigned_message,
)

log = logging.getLogger(__name__)

_SEED_BYTES: Final = 32
_MAX_FILE_BYTES: Final = 4096


class SigningKey:
    """A private key. Neither `repr` nor any error shows it."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes, name: str = "the log key") -> None:
        if len(seed) != _SEED_BYTES:
            raise KeyUnavailable(name, f"it must be {_SEED_BYTES} bytes, is {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()[:8]}…)"

    def verifier(self, name: str, kind: int = ED25519) -> VerifierKey:
        """The public key under a name, for whoever verifies."""
        return VerifierKey(name, self.public, kind)

    def sign(self, checkpoint: Checkpoint) -> Signature:
        """The signature of the log that the checkpoint names."""
        return self.sign_text(checkpoint.origin, checkpoint.text)

    def sign_text(self, name: str, text: str) -> Signature:
        """A signature over any text of a note, under a name."""
        key = self.verifier(name)
        return Signature(key.name, key.key_id, self._private.sign(text.encode()))

    def note(self, checkpoint: Checkpoint) -> Note:
        """The checkpoint as a signed note."""
        return Note(checkpoint.text, (self.sign(checkpoint),))

    def cosign(self, name: str, text: str, seconds: int) -> Signature:
        """A witness's statement that it saw this checkpoint at that time."""
        key = self.verifier(name, COSIGNATURE)
        made = self._private.sign(cosigned_message(text, seconds))
        return Signature(key.name, key.key_id, seconds.to_bytes(8, "big") + made)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new random key."""
        return cls(secrets.token_bytes(_SEED_BYTES))

    @classmethod
    def from_base64(cls, text: str, name: str = "the log key") -> SigningKey:
        """The key from base64. Raises `KeyUnavailable`."""
        try:
            seed = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            # The cause would quote from the key.
            raise KeyUnavailable(
                name, "it is not base64; make one with: openssl rand -base64 32"
            ) from None
        return cls(seed, name)

    @classmethod
    def from_file(cls, path: Path, name: str = "the log key") -> SigningKey:
        """The key from a file that nobody but its owner may read. Raises `KeyUnavailable`."""
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise KeyUnavailable(
                        name, f"others may use the file {path} (mode {mode:04o}); chmod 600 it"
                    )
                content = file.read(_MAX_FILE_BYTES)
        except FileNotFoundError as error:
            raise KeyUnavailable(name, f"there is no file {path}") from error
        except OSError as error:
            raise KeyUnavailable(
                name, f"the file {path} can't be read: {error.strerror}"
            ) from error
        return cls.from_base64(content.decode("latin-1"), f"{name} in {path}")

    @classmethod
    def generate_file(cls, path: Path, name: str = "the log key") -> SigningKey:
        """Make a key and its file (mode 0600): the whole file or none, never over another.

        Raises `FileExistsError`, and `KeyUnavailable` when it can't be written.
        """
        seed = secrets.token_bytes(_SEED_BYTES)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(base64.b64encode(seed) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                # A link, unlike a rename, never replaces what is there.
                os.link(fresh, path)
            finally:
                fresh.unlink()
            sync_folder(path.parent)
        except FileExistsError:
            raise
        except OSError as error:
            raise KeyUnavailable(
                name, f"the file {path} can't be written: {error.strerror}"
            ) from error
        log.warning("made %s in %s: keep a copy of it elsewhere", name, path)
        return cls(seed)


def check_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature over the message is of the public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
