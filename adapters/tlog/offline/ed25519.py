"""Ed25519 (RFC 8032), verification only: accepts what OpenSSL accepts."""

from __future__ import annotations

import hashlib
from typing import Any

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _add(one: tuple[Any, ...], two: tuple[Any, ...]) -> tuple[Any, ...]:
    a = (one[1] - one[0]) * (two[1] - two[0]) % P
    b = (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number: int, point: tuple[Any, ...]) -> tuple[Any, ...]:
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point = _add(point, point)
        number >>= 1
    return total


def _point(raw: bytes) -> tuple[Any, ...] | None:
    number = int.from_bytes(raw, "little")
    y = (number & (2**255 - 1)) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x + u) % P == 0:
        x = x * ROOT % P
    if (v * x * x - u) % P:
        return None
    if x & 1 != number >> 255:
        x = -x % P
    return x, y, 1, x * y % P


BASE = _point(bytes([0x58]) + bytes([0x66]) * 31)


def signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature over the message is of the public key."""
    point = _point(public)
    scalar = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or point is None or BASE is None or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    hashed = int.from_bytes(digest, "little") % ORDER
    x, y, z, t = point
    x, y, z, _ = _add(_times(scalar, BASE), _times(hashed, (-x % P, y, z, -t % P)))
    inverse = pow(z, P - 2, P)
    encoded = (y * inverse % P) | ((x * inverse % P & 1) << 255)
    return bool(encoded.to_bytes(32, "little") == signature[:32])
