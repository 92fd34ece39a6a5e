"""Which checkpoints a bundle is about: the last ones, or, where the logs grow faster than their
witnesses answer, the last ones that those have cosigned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from msgspec import Struct

from adapters.crypto.signing import check_ed25519
from adapters.jetstream.checkpoints import StoredNote
from adapters.tlog.proofs import Sealed
from domain.errors import NotVerified
from domain.tlog.checkpoint import parse_checkpoint
from domain.tlog.judging import WITNESS_LAG_SECONDS
from domain.tlog.names import cosigned_origin
from domain.tlog.note import Note, VerifierKey, cosignature_time, parse_note, verified

# So many of a log's last cosigned checkpoints are looked at.
_MOST = 256


class Cosigned(Struct, frozen=True):
    """A checkpoint that all witnesses have cosigned, up to which position of the stream its log was
    read for it, and when the last of them did so that did so first."""

    sealed: Sealed
    position: int
    seconds: int


class Choosing:
    """Takes the notes of two logs, a tenant's and the stream's, in their order."""

    def __init__(
        self, log: str, stream_log: str, keys: Sequence[VerifierKey], witnesses: set[VerifierKey]
    ) -> None:
        self._keys = keys
        self._witnesses = {(one.name, one.key_id) for one in witnesses}
        self._found: dict[str, list[StoredNote]] = {log: [], stream_log: []}
        self._log, self._stream_log = log, stream_log
