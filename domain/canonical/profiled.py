"""Canonical form of platforms with a profile, such as `ios/1`.

Dropped: a byte order mark, the kind of line endings, blanks at line ends, empty lines,
comments, and the lines that the profile calls volatile. The text of a banner is
kept as it is. Order counts. A secret that the device salts anew at each reading is left out:
whether it changed can't be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from domain.canonical.form import BLANKS, Canonical, physical_lines
from domain.profiles.profile import Profile, with_paths

_BANNER = re.compile(r"banner \S+ (\^C|\S)")


def canonicalise(text: str, profile: Profile) -> Canonical:
    """The canonical form of a text. It is always taken for complete."""
    physical = physical_lines(text)
    logical = tuple(_kept(physical, profile))
    paths = with_paths(logical, profile.style)
    return Canonical(
        rules=profile.rules,
        logical=logical,
        normal=tuple(profile.salted.sub("ENC", one) for one in logical)
        if profile.salted
        else logical,
        line_count=len(physical),
        named=tuple((profile.section(path[0] if path else line), line) for path, line in paths),
    )


def _kept(physical: Iterable[str], profile: Profile) -> Iterator[str]:
    banner = ""
    for line in physical:
        if banner:
            yield line
            if banner in line:
                banner = ""
            continue
        line = line.rstrip(BLANKS)
        bare = line.lstrip(BLANKS)
        if not bare or profile.volatile.match(line):
            continue
        if profile.comment and bare.startswith(profile.comment):
            continue
        begun = _BANNER.match(line)
        if begun is not None and begun[1] not in line[begun.end() :]:
            banner = begun[1]
        yield line
