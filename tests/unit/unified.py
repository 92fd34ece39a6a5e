"""Reading unified diffs independently of the code that makes them."""

from __future__ import annotations


def replayed(before: bytes, patch: bytes) -> tuple[bytes, int, int]:
    """The text after a diff, and its counts: an own reading of the format, strict to the byte."""
    body = patch.split(b"\n", 2)[2]
    old = before.split(b"\n")
    lines = [line + b"\n" for line in old[:-1]] + ([old[-1]] if old[-1] else [])
    result: list[bytes] = []
    at = added = removed = 0
    records = body.split(b"\n")
    assert records.pop() == b""
    for index, record in enumerate(records):
        if record.startswith(b"@@ "):
            span = record.split(b" ")[1].removeprefix(b"-").split(b",")
            start = int(span[0]) - (0 if span[1:] == [b"0"] else 1)
            result += lines[at:start]
            at = start
            continue
        if record.startswith(b"\\"):
            continue
        bare = index + 1 < len(records) and records[index + 1].startswith(b"\\")
        text = record[1:] + (b"" if bare else b"\n")
        if record[:1] in (b" ", b"-"):
            assert lines[at] == text
            at += 1
        if record[:1] in (b" ", b"+"):
            result.append(text)
        added += record[:1] == b"+"
        removed += record[:1] == b"-"
    return b"".join([*result, *lines[at:]]), added, removed
