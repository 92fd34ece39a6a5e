"""User names as SSH sends them: prepared by SASLprep (RFC 4013), or not at all."""

from __future__ import annotations

import stringprep
import unicodedata
from typing import Final

USER_NAME_RULE: Final = "has characters that no SSH login can send (RFC 4013)"

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def is_user_name(text: str) -> bool:
    """Whether a login can send this user name."""
    if text.isascii() and text.isprintable():
        return True
    if any(stringprep.in_table_a1(one) for one in text):
        return False
    prepared = unicodedata.normalize("NFKC", "".join(map(_mapped, text)))
    if any(is_prohibited(one) for one in prepared for is_prohibited in _PROHIBITED):
        return False
    return _reads_one_way(prepared)


def _mapped(one: str) -> str:
    if stringprep.in_table_c12(one):
        return " "
    return "" if stringprep.in_table_b1(one) else one


def _reads_one_way(text: str) -> bool:
    """The rule for what is written from right to left: all of it is, from its first to its last."""
    from_right = [stringprep.in_table_d1(one) for one in text]
    if not any(from_right):
        return True
    return from_right[0] and from_right[-1] and not any(map(stringprep.in_table_d2, text))
