"""An event's place in its device's history: its version, as its header tells it.

Whoever may publish can put anything among a device's events. So that it neither opens a gap nor has
true events accused, who looks where a history goes on believes it by this one rule.
"""

from __future__ import annotations

from adapters.jetstream.headers import number_in

_VERSION = b"\r\nce-sequence: "


def version_of(block: bytes) -> int | None:
    """The event's place in its device's history, by its header alone; None when it has none."""
    told = block.partition(_VERSION)[2].partition(b"\r\n")[0]
    try:
        return number_in(told.decode("ascii"))
    except ValueError:
        return None


def version_after(last: int, told: int | None, position: int, *, readable: bool) -> int:
    """The last version of a history after a message at `position` that tells one.

    What can't be read, as of a newer program, has the next place if it says so, and else none.
    Nothing is further in its device's history than its position is in the stream.
    """
    if told is not None and (told == last + 1 or (readable and 1 <= told <= position)):
        return told
    return last
