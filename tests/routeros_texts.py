"""Texts of RouterOS for tests of their canonical form."""

from __future__ import annotations

from domain.canonical import Canonical, canonicalise

BODY = """\
/interface bridge
add name=bridge1
/ip address
add address=10.0.0.1/24 interface=bridge1
"""
BY_LINE = "# 2024-01-15 10:30:00 by RouterOS 7.14\n"


def routeros(text: str) -> Canonical:
    return canonicalise(text, "routeros")
