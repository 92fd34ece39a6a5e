"""Canonical forms: what of a configuration text counts when two readings are compared.

The text itself is kept as it came; only its fingerprint is taken over the canonical form. The
rules have a version of their own, because a changed rule makes fingerprints incomparable.
"""

from __future__ import annotations

from domain.canonical import plain, routeros
from domain.canonical.form import Canonical
from domain.canonical.platform import ROUTEROS, TEXT, detect_platform

__all__ = ["ROUTEROS", "TEXT", "Canonical", "canonicalise", "detect_platform"]


def canonicalise(text: str, platform: str) -> Canonical:
    """The canonical form under the rules of `platform`; unknown platforms get the plain rules."""
    if platform == ROUTEROS:
        return routeros.canonicalise(text)
    return plain.canonicalise(text)
