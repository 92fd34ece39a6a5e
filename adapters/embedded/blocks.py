"""Blocks of streams that a killed nats-server left half made, removed before it starts again.

nats-server (2.15.1) begins a block of an encrypted stream with an empty file, and writes the key of
the block beside it after that. Killed in between, it finds a block without its key at the next
start, takes the stream for corrupt ("corrupt state file (10077)") and deletes it, all of its blocks
with it. The empty file holds nothing: without it the server goes on as if it had been killed
before.
"""

from __future__ import annotations

from pathlib import Path


def remove_unkeyed_blocks(store: Path) -> list[Path]:
    """Remove empty blocks that have no key from an encrypted store (`store_dir`) which no server
    has open; which ones."""
    found = [
        block
        for block in sorted(store.glob("jetstream/*/streams/*/msgs/*.blk"))
        if not block.stat().st_size and not block.with_suffix(".key").exists()
    ]
    for block in found:
        block.unlink()
    return found
