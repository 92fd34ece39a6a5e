"""Published test vectors, which are not part of this repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parents[1]


def vectors(name: str) -> Path:
    """The folder of that name; skips the test when it is not there."""
    root = Path(os.environ.get("CONFIGTRAIL_VECTORS") or _HERE.parent / "shared" / "vectors")
    if not (root / name).exists():
        pytest.skip(f"no vectors {name}: set CONFIGTRAIL_VECTORS to the folder that holds them")
    return root / name
