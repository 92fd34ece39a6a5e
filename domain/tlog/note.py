"""Signed notes (C2SP signed-note): a text, and lines of signatures under names of keys.

Strict: what a lenient reader would take for the same note is refused, so that no two readers ever
disagree about one. Nothing of a note may be believed before `verified` returned.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final

from msgspec import Struct

from domain.errors import NotVerified

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
MAX_NOTE: Final = 64 * 1024
MAX_SIGNATURES: Final = 64
_DASH: Final = "\u2014 "
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_COSIGNED_BYTES: Final = 8 + 64

# Whether a signature over a message is of a public key (Ed25519, RFC 8032).
Check = Callable[[bytes, bytes, bytes], bool]


class VerifierKey(Struct, frozen=True):
    """A public key and the name it signs under. `kind` is the type of its signatures."""

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand in front of its signatures."""
        covered = self.name.encode() + b"\n" + bytes((self.kind,)) + self.public
        return sha256(covered).digest()[:4]

    def __str__(self) -> str:
        """In the standard form: `name+id+base64`."""
        material = base64.b64encode(bytes((self.kind,)) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key in its standard form. Raises `NotVerified`."""
        name, _, rest = text.partition("+")
        key_id, _, material = rest.partition("+")
        try:
            raw = strict_base64(material)
        except ValueError as error:
            raise NotVerified("the verifier key", "its key is not base64") from error
        if len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE) or not is_key_name(name):
            raise NotVerified("the verifier key", "it is not name+id+key with an Ed25519 key")
        key = cls(name, raw[1:], raw[0])
        if key.key_id.hex() != key_id:
            raise NotVerified("the verifier key", "its id is not that of its name and key")
        return key


class Signature(Struct, frozen=True):
    """One line: under which name, and the bytes after the key's id."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """As it stands in a note."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


class Note(Struct, frozen=True):
    """A note whose form is right. Its signatures may be anything."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(one.line for one in self.signatures)

    def also(self, signature: Signature) -> Note:
        """With one more signature, right behind the first one."""
        first, *others = self.signatures
        return Note(self.text, (first, signature, *others))

    def together(self, said: Iterable[Signature]) -> Note:
        """With what else is said of its text; without that where it would be none any more, as
        anybody may have stored it."""
        there = {(one.name, one.key_id) for one in self.signatures}
        more = [one for one in said if (one.name, one.key_id) not in there]
        joined = Note(self.text, (*self.signatures, *more))
        try:
            return parse_note(str(joined).encode())
        except NotVerified:
            return self


def parse_note(raw: bytes) -> Note:
    """The note. Raises `NotVerified` for every departure from the form."""
    if len(raw) > MAX_NOTE:
        raise NotVerified("the note", f"it is longer than {MAX_NOTE} bytes")
    try:
        whole = raw.decode()
    except UnicodeDecodeError as error:
        raise NotVerified("the note", "it is not UTF-8") from error
    if _CONTROL.search(whole):
        raise NotVerified("the note", "it holds control characters")
    at = whole.rfind("\n\n")
    if at < 0 or not whole.endswith("\n"):
        raise NotVerified("the note", "it has no signatures, or its last line does not end")
    lines = whole[at + 2 : -1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NotVerified("the note", f"it has more than {MAX_SIGNATURES} signatures")
    return Note(whole[: at + 1], tuple(_signature(line) for line in lines))


def parse_signatures(raw: bytes) -> tuple[Signature, ...]:
    """Signature lines on their own, as a witness answers them. Raises `NotVerified`."""
    return parse_note(b"-\n\n" + raw).signatures


def verified(note: Note, keys: Iterable[VerifierKey], check: Check) -> tuple[VerifierKey, ...]:
    """The keys among `keys` that signed the note. Signatures of other keys are ignored.

    Raises `NotVerified` when none did, and when a signature that claims to be of one is not.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[VerifierKey, None] = {}
    for one in note.signatures:
        key = known.get((one.name, one.key_id))
        if key is None:
            continue
        if not _holds(key, one, note.text, check):
            raise NotVerified("the note", f"the signature of {key.name} is not over this text")
        found[key] = None
    if not found:
        raise NotVerified("the note", "no key that is trusted here signed it")
    return tuple(found)


def cosigned_message(text: str, seconds: int) -> bytes:
    """What a witness signs: C2SP tlog-cosignature, Ed25519."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def cosignature_time(signature: Signature) -> int | None:
    """When a cosignature says that it was made, in seconds since 1970."""
    if len(signature.signature) != _COSIGNED_BYTES:
        return None
    return int.from_bytes(signature.signature[:8], "big")


def _holds(key: VerifierKey, one: Signature, text: str, check: Check) -> bool:
    if key.kind == ED25519:
        return len(one.signature) == 64 and check(key.public, text.encode(), one.signature)
    seconds = cosignature_time(one)
    if seconds is None or seconds > 2**63 - 1:
        return False
    return check(key.public, cosigned_message(text, seconds), one.signature[8:])


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not is_key_name(name):
        raise NotVerified("the note", "a signature line is not '\u2014 name base64'")
    try:
        raw = strict_base64(encoded)
    except ValueError as error:
        raise NotVerified("the note", "a signature is not base64") from error
    if len(raw) < 5:
        raise NotVerified("the note", "a signature is too short")
    return Signature(name, raw[:4], raw[4:])


def is_key_name(name: str) -> bool:
    """Whether a key, or a log, may have this name."""
    return bool(name) and "+" not in name and not any(char.isspace() for char in name)


def strict_base64(text: str) -> bytes:
    """The bytes, when `text` is their only encoding (RFC 4648, section 4); else `ValueError`."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not base64 in its only form")
    return raw
