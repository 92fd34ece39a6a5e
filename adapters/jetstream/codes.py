"""What the server says by number or by name: error codes of its API, and a header of its buckets.

Source: nats-server's `server/errors.json`; ADR-8 for the header.
"""

from __future__ import annotations

from typing import Final

NO_MESSAGE: Final = 10037
NAME_IN_USE: Final = 10058
# Which names the sequence, and which does not.
WRONG_LAST_SEQUENCE: Final = (10071, 10164)
# In the place of a value that is deleted.
KV_OPERATION: Final = "KV-Operation"
