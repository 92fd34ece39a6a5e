"""Bodies of uploads: read as they come and unpacked, both within a bound."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

import zstandard
from fastapi import Request

from domain.errors import ConfigtrailError, InvalidInput
from domain.intake import MAX_TEXT

READ_SECONDS: Final = 120.0
# What this much can become at most (a zstd block of four bytes is 128 kB) is harmless.
_PIECE: Final = 256


class TooLarge(ConfigtrailError):
    """The body, or what it unpacks to, has more bytes than a configuration may have."""

    def __init__(self) -> None:
        super().__init__(f"a configuration must be at most {MAX_TEXT} bytes, packed or not")


class UnknownCoding(ConfigtrailError):
    """The body is packed in a way that is not known here."""

    def __init__(self) -> None:
        super().__init__("Content-Encoding must be zstd, gzip or identity, and only one of them")


class NotAText(ConfigtrailError):
    """The body is a form, in which the text would be a part with others around it."""

    def __init__(self) -> None:
        super().__init__(
            "the body must be the text itself, not a form with parts: curl sends it so by "
            "--data-binary @FILE or --upload-file FILE"
        )


class TooSlow(ConfigtrailError):
    """The body did not come in time."""

    def __init__(self) -> None:
        super().__init__(f"the body must come within {READ_SECONDS:g} s")


async def read_text(request: Request) -> bytes:
    """The request's body, unpacked. Raises `TooLarge`, `UnknownCoding`, `NotAText`, `TooSlow`,
    and `InvalidInput` for a body that is cut or not packed as it says."""
    # Any other type is let pass, since programs that send files name all sorts of them.
    if request.headers.get("content-type", "").strip().lower().startswith("multipart/"):
        raise NotAText
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("zstd", "gzip", "identity"):
        raise UnknownCoding
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_TEXT:
        raise TooLarge
    packed = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for piece in request.stream():
                packed += piece
                if len(packed) > MAX_TEXT:
                    raise TooLarge
    except TimeoutError as error:
        raise TooSlow from error
    if coding == "identity":
        return bytes(packed)
    return await asyncio.to_thread(unpacked, bytes(packed), coding)


def unpacked(packed: bytes, coding: str) -> bytes:
    """What was packed by zstd (one frame) or gzip (one member), all of it and nothing else."""
    text = bytearray()
    try:
        if coding == "gzip":
            inflate = zlib.decompressobj(wbits=31)
            text += inflate.decompress(packed, MAX_TEXT + 1)
            whole, rest = inflate.eof, inflate.unused_data
        else:
            unpack = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
            rest = b""
            for begin in range(0, len(packed), _PIECE):
                text += unpack.decompress(packed[begin : begin + _PIECE])
                if len(text) > MAX_TEXT:
                    break
                if unpack.eof:
                    rest = unpack.unused_data + packed[begin + _PIECE :]
                    break
            whole = unpack.eof
    except (zlib.error, zstandard.ZstdError) as error:
        raise InvalidInput("body", f"must be {coding}, as Content-Encoding says") from error
    if len(text) > MAX_TEXT:
        raise TooLarge
    if not whole:
        raise InvalidInput("body", "was cut: its end is missing")
    if rest:
        raise InvalidInput("body", f"must be one piece of {coding}, without anything behind it")
    return bytes(text)
