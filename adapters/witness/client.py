"""Asking witnesses to cosign. A witness that is away, or refuses, never holds up sealing."""

from __future__ import annotations

import asyncio
import logging
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from adapters.crypto.signing import check_ed25519
from adapters.tlog.proofs import Prover, Sealed
from domain.errors import InvalidInput, NotVerified
from domain.tlog.checkpoint import Checkpoint, parse_number
from domain.tlog.note import COSIGNATURE, Note, Signature, VerifierKey, parse_signatures, verified
from domain.tlog.request import WitnessRequest

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 30.0
_TRIES = 3
_ANSWER_MAX = 64 * 1024


class WitnessAddress(Struct, frozen=True):
    """Where a witness is, and the key that it cosigns with."""

    url: str
    key: VerifierKey


class Answered(Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes


Post = Callable[[str, bytes], Awaitable[Answered]]


def parse_witnesses(text: str) -> tuple[WitnessAddress, ...]:
    """Witnesses from `URL KEY` pairs, separated by commas. Raises `InvalidInput`."""
    found: list[WitnessAddress] = []
    for pair in filter(None, (one.strip() for one in text.split(","))):
        url, _, vkey = pair.partition(" ")
        try:
            key = VerifierKey.parse(vkey.strip())
        except NotVerified as error:
            raise InvalidInput("CONFIGTRAIL_WITNESSES", error.reason) from error
        if not url.startswith(("http://", "https://")) or key.kind != COSIGNATURE:
            raise InvalidInput(
                "CONFIGTRAIL_WITNESSES", "must be 'URL KEY, …' with keys of witnesses (type 4)"
            )
        found.append(WitnessAddress(url.rstrip("/"), key))
    return tuple(found)


class Witnesses:
    """All witnesses of a deployment. Give `cosign` to the sealer."""

    def __init__(self, addresses: Sequence[WitnessAddress], *, post: Post | None = None) -> None:
        self._addresses = tuple(addresses)
        self._post = post or _post
        self._sizes: dict[tuple[str, str], int] = {}
        self._paused: dict[str, float] = {}

    async def cosign(self, prover: Prover, name: str, checkpoint: Checkpoint, note: Note) -> Note:
        """The note with the cosignatures that could be had."""
        lines: list[Signature] = []
        for address in self._addresses:
            clock = asyncio.get_running_loop().time
            if clock() < self._paused.get(address.url, 0.0):
                continue
            try:
                lines += await self._asked(address, prover, name, Sealed(checkpoint, note))
            except (OSError, NotVerified) as error:
                self._paused[address.url] = clock() + PAUSE_SECONDS
                log.warning(
                    "the witness %s did not cosign %s at size %d: %s",
                    address.key.name,
                    checkpoint.origin,
                    checkpoint.size,
                    error,
                )
        return Note(note.text, (*note.signatures, *lines))

    async def _asked(
        self, address: WitnessAddress, prover: Prover, name: str, sealed: Sealed
    ) -> list[Signature]:
        origin = sealed.checkpoint.origin
        slot = (address.url, origin)
        for _ in range(_TRIES):
            old = self._sizes.get(slot, 0)
            hashes: tuple[bytes, ...] = ()
            if old:
                hashes = (await prover.consistency(name, old, sealed)).hashes
            request = WitnessRequest(old, hashes, sealed.note)
            answer = await self._post(f"{address.url}/add-checkpoint", str(request).encode())
            if answer.status == 200:
                self._sizes[slot] = sealed.checkpoint.size
                return _checked(address.key, sealed.note, answer.body)
            if answer.status != 409:
                reason = answer.body.decode(errors="replace").strip()[:200]
                raise NotVerified("the checkpoint", f"it answers {answer.status}: {reason!r}")
            self._sizes[slot] = _known_size(answer.body, sealed.checkpoint.size)
        raise NotVerified("the checkpoint", f"it answers 409 {_TRIES} times over")


def _known_size(body: bytes, size: int) -> int:
    text = body.decode("ascii", errors="replace").removesuffix("\n")
    known = parse_number(text, "the witness's answer")
    if known > size:
        raise NotVerified("the checkpoint", f"it has cosigned size {known} already")
    return known


def _checked(key: VerifierKey, note: Note, body: bytes) -> list[Signature]:
    """The lines of the witness's key; those of other keys are not ours to pass on."""
    lines = parse_signatures(body)
    own = [one for one in lines if (one.name, one.key_id) == (key.name, key.key_id)]
    verified(Note(note.text, tuple(own)), [key], check_ed25519)
    return own


async def _post(url: str, body: bytes) -> Answered:
    return await asyncio.to_thread(_post_now, url, body)


def _post_now(url: str, body: bytes) -> Answered:
    request = urllib.request.Request(url, data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return Answered(answer.status, answer.read(_ANSWER_MAX))
    except urllib.error.HTTPError as error:
        with error:
            return Answered(error.code, error.read(_ANSWER_MAX))
