"""What processes spend on the processor: the figure that a loaded machine distorts least."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def spent(pid: int) -> float:
    """Seconds that the process and all that it ever started have spent, as Linux counts them;
    0 where it is not to be had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0.0
    # utime and stime, and those of ended children that were waited for.
    return sum(map(int, fields[11:15])) / _TICK + sum(map(spent, children))
