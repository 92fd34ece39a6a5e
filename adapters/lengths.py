"""Work on texts: in the loop's thread while they are short, beside it when they are long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from domain.canonical import text_under
from domain.ids import canonical_fingerprint

_T = TypeVar("_T")

# Below it work takes a few milliseconds at most, less than handing it to a thread is worth.
INLINE_CHARACTERS: Final = 256 * 1024


async def by_length(text: str, work: Callable[..., _T], *args: object) -> _T:
    """What `work(*args)` gives, which takes time by the length of the text."""
    if len(text) > INLINE_CHARACTERS:
        return await asyncio.to_thread(work, *args)
    return work(*args)


async def fingerprint_under(rules: str, key: bytes, text: str) -> str | None:
    """A text's fingerprint under given rules; None for rules that are not known, or not for it."""
    canonical = await by_length(text, text_under, rules, text)
    return None if canonical is None else canonical_fingerprint(key, rules, canonical)
