"""Configuration text without its secrets: each becomes a keyed hash, `<secret:1a2b3c4d>`.

The hash shows that a secret changed, and nothing about it to who has not the key. Text of which
nobody knows where its secrets stand is not shown at all.
"""

from domain.redaction.hashing import Redactor
from domain.redaction.text import redacted

__all__ = ["Redactor", "redacted"]
