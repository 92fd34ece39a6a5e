"""Checks a Configtrail audit bundle. Needs nothing but Python 3.8 or newer.

    python3 -I verify.py --key 'NAME+ID+KEY' [--key …] [--witness 'NAME+ID+KEY'] [FOLDER]

Take the keys, and this program, from somebody you trust: whoever made a bundle made what is in it.
It checks, in this order: signatures of the checkpoints, form and order of the events, that they are
all that the tenant's log holds in this stretch, that each stands at its place in the stream's log,
proofs, that older checkpoints are of the same history, and that texts are what events committed to.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

from adapters.tlog.offline.bundle import SMALL, Bundle, in_words
from adapters.tlog.offline.notes import parse_key
from adapters.tlog.offline.trees import Wrong, need


def moment(text: str, *, end: bool) -> int:
    """A date (its first instant in UTC, or its last) or a time with its zone, in ns since 1970."""
    try:
        told = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Wrong(f"{text} is no date or time such as 2026-03-01 or 2026-03-01T12:00Z") from None
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", text):
        told = told.replace(tzinfo=timezone.utc)  # noqa: UP017
        told += timedelta(days=1, microseconds=-1) if end else timedelta()
    need(told.tzinfo is not None, f"{text} has no zone")
    since = told - datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017
    return since // timedelta(microseconds=1) * 1000


def tell(line: str) -> None:
    """Print a line. Nothing in a bundle can print another, or steer the terminal."""
    shown = (one if " " <= one <= "~" else ascii(one)[1:-1] for one in line)
    sys.stdout.write("".join(shown) + "\n")


def check(given: Any) -> str:
    """Verify what the arguments name, telling how it goes; returns the verdict. Raises `Wrong`."""
    keys, witnesses = [parse_key(one) for one in given.key], list(map(parse_key, given.witness))
    parties = len({one[3] for one in witnesses})
    need(given.max_age is None or parties > 0, "--max-age needs --witness: only that tells a time")
    quorum = parties if given.quorum is None else given.quorum
    usable = given.quorum is None or 1 <= given.quorum <= parties
    need(usable, "--quorum must be from 1 to the number of --witness with different keys")
    need(all(one[2] == 4 for one in witnesses), "--witness must be the key of a witness (type 4)")
    kept: list[Any] = []
    for path in given.checkpoint:
        with open(path, "rb") as file:  # noqa: PTH123
            kept.append(file.read(SMALL))
    bundle = Bundle(given.folder, keys, witnesses, quorum)
    about = bundle.about
    need(given.tenant in (None, about["tenant"]), "the bundle is of another tenant")
    if given.since is not None:
        wanted = moment(given.since, end=False)
        need(about["from_ns"] <= wanted, f"the bundle begins at {in_words(about['from_ns'])} only")
    if given.until is not None:
        wanted = moment(given.until, end=True)
        need(about["to_ns"] >= wanted, f"the bundle ends at {in_words(about['to_ns'])} already")
    own = [parse_key(one) for one in bundle.read("keys").decode().split("\n") if one]
    if not keys:
        tell("WARNING: no --key given. The keys are those in the bundle: this shows that it")
        tell("is whole, and NOT that it is from whom it says. Ask for the keys elsewhere.")
        bundle.keys = own
    for key in own:
        if key not in bundle.keys:
            tell(f"WARNING: the bundle names another key for {key[0]} than you; it is not used")
    for line in bundle.verify(given.max_age, kept):
        tell(line)
    return "VERIFIED" if keys else "WHOLE, and by its own keys only: from whom it is, is NOT shown"


def main(arguments: list[Any]) -> int:
    """Verify the bundle that the arguments name; returns the exit status."""
    parser = argparse.ArgumentParser(description="Checks a Configtrail audit bundle, offline.")
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    parser.add_argument("folder", nargs="?", default=here)
    parser.add_argument("--key", action="append", default=[], help="a log's verifier key")
    parser.add_argument("--witness", action="append", default=[], help="a witness's key")
    parser.add_argument("--max-age", type=int, help="seconds since the witnesses cosigned")
    parser.add_argument("--quorum", type=int, help="how many of the witnesses; default: all")
    parser.add_argument("--checkpoint", action="append", default=[], help="a file that you kept")
    parser.add_argument("--tenant", help="whose bundle it must be")
    parser.add_argument("--from", dest="since", help="from when on it must tell, in UTC")
    parser.add_argument("--to", dest="until", help="up to when it must tell, in UTC")
    try:
        tell(check(parser.parse_args(arguments)))
    except Wrong as error:
        tell(f"FAILED: {error}")
    except OSError as error:
        tell(f"FAILED: {error.filename} can't be read: {error.strerror}")
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        tell(f"FAILED: the bundle is malformed ({type(error).__name__})")
    except (RecursionError, OverflowError, MemoryError) as error:
        tell(f"FAILED: the bundle is beyond all measure ({type(error).__name__})")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
