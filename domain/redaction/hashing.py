"""The keyed hashes that stand for secrets."""

from __future__ import annotations

import re
from typing import Final

from domain.ids import keyed_digest
from domain.routeros.strings import joined, plain

_HASH_BYTES: Final = 4
_PURPOSE: Final = "redaction"
# What an export itself hides, what is empty, and what is redacted already.
_HIDDEN = re.compile(r"\*+\Z|<(?:secret|hidden):[0-9a-f]{8}>\Z|<secret>\Z|\Z")


class Redactor:
    """Hides secrets of one device of one tenant.

    Hashes are bound to the device: the same secret on two devices looks different, so that nobody
    learns from redacted text where a password is used twice.
    """

    def __init__(self, key: bytes, device_id: str) -> None:
        self._key = key
        self._device_id = device_id

    def secret(self, value: str) -> str:
        """What is shown in place of a secret, given as written; equal for equal secrets."""
        meant = plain(value)
        return value if _HIDDEN.match(meant) else self.meant(meant)

    def meant(self, text: str) -> str:
        """What is shown in place of a secret, given without quotes and escapes."""
        return text if _HIDDEN.match(text) else f"<secret:{self._hash(joined(text))}>"

    def hidden(self, line: str) -> str:
        """What is shown in place of a whole line that was not understood."""
        return f"<hidden:{self._hash(line)}>"

    def _hash(self, text: str) -> str:
        raw = text.encode("utf-8", "surrogatepass")
        return keyed_digest(self._key, _PURPOSE, self._device_id, raw)[:_HASH_BYTES].hex()
