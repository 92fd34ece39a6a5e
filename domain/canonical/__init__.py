"""Canonical forms: what of a configuration text counts when two readings are compared.

The text itself is kept as it came; only its fingerprint is taken over the canonical form. The
rules have a version of their own, because a changed rule makes fingerprints incomparable: a
fingerprint under older rules is compared with one of the new text under those same rules.
"""

from __future__ import annotations

from msgspec.structs import replace

from domain.canonical import plain, profiled, routeros
from domain.canonical.bounds import TOO_LARGE, is_too_large
from domain.canonical.form import Canonical
from domain.canonical.platform import ROUTEROS, TEXT, detect_platform
from domain.profiles import PROFILES

__all__ = [
    "ROUTEROS",
    "TEXT",
    "Canonical",
    "canonicalise",
    "detect_platform",
    "has_rules",
    "text_under",
]


_BY_RULES = {one.rules: one for one in PROFILES.values()}
_BY_RULES_2 = {profiled.rules_2(one): one for one in PROFILES.values()}
_BY_RULES_1 = {profiled.rules_1(one): one for one in PROFILES.values()}


def canonicalise(text: str, platform: str) -> Canonical:
    """The canonical form under the rules of `platform`; unknown platforms, and texts that are too
    large for any others, get the plain rules."""
    if has_rules(platform) and is_too_large(text):
        return replace(plain.canonicalise(text), warnings=(TOO_LARGE,))
    if platform == ROUTEROS:
        return routeros.canonicalise(text)
    if platform in PROFILES:
        return profiled.canonicalise(text, PROFILES[platform])
    return plain.canonicalise(text)


def has_rules(platform: str) -> bool:
    """Whether a platform has rules of its own."""
    return platform == ROUTEROS or platform in PROFILES


def text_under(rules: str, text: str) -> str | None:
    """What the fingerprint under given rules, of today or before, is taken over.

    None for rules that this version does not know, or that are not for a text as large as that.
    """
    if rules == plain.RULES:
        return plain.normal_text(text)
    if is_too_large(text):
        return None
    match rules:
        case routeros.RULES:
            return routeros.canonicalise(text).text
        case routeros.RULES_3:
            return routeros.canonicalise_3(text).text
        case routeros.RULES_2:
            return routeros.canonicalise_2(text).text
        case routeros.RULES_1:
            return routeros.canonicalise_1(text).text
        case _:
            return _profiled_under(rules, text)


def _profiled_under(rules: str, text: str) -> str | None:
    if (profile := _BY_RULES.get(rules)) is not None:
        return profiled.canonicalise(text, profile).text
    if (profile := _BY_RULES_2.get(rules)) is not None:
        return profiled.canonicalise_2(text, profile).text
    if (profile := _BY_RULES_1.get(rules)) is not None:
        return profiled.canonicalise_1(text, profile).text
    return None
