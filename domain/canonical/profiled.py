"""Canonical form of platforms with a profile, such as `ios/3`.

Dropped: a byte order mark, the kind of line endings, blanks at line ends, empty lines,
comments, and the lines that the profile calls volatile. A value that goes on over several lines is
one line with newlines in it, and kept as it is. A secret that the device salts anew at each reading
is left out: whether it changed can't be known. Order counts, but where each line has all of its
path (VyOS): there only that of the values of one thing does.

New in version 2: version 1 knew of no values over several lines but banners of IOS, and dropped
what looked like a comment in others. New in version 3: the order of `set` lines; what IOS writes
before its answers about load and time, prompts of Junos and what it writes of its role there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from domain.canonical.form import BLANKS, Canonical, is_unfinished, physical_lines, unix
from domain.profiles.profile import Profile, is_open, with_paths

_BANNER_1 = re.compile(r"banner \S+ (\^C|\S)")
_SALTED_KEY: Final = (
    "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "-----END ENCRYPTED PRIVATE KEY-----",
)
_IN_A_VALUE: Final = "ends inside a value"
_IN_A_BLOCK: Final = "ends inside a block"
_NO_TAIL: Final = "its last line is missing"


def canonicalise(text: str, profile: Profile) -> Canonical:
    """The canonical form of a text. It is partial where the text itself proves that it was cut."""
    return _canonicalise(text, profile, profile.rules)


def canonicalise_2(text: str, profile: Profile) -> Canonical:
    """The form under the rules of version 2."""
    return _canonicalise(text, _before_3(profile), rules_2(profile))


def _canonicalise(text: str, profile: Profile, rules: str) -> Canonical:
    physical = physical_lines(text)
    logical, in_value = _logical(physical, profile)
    warnings = []
    if in_value:
        warnings.append(_IN_A_VALUE)
    elif is_open(logical, profile.style):
        warnings.append(_IN_A_BLOCK)
    elif _lacks_tail(logical, physical, profile):
        warnings.append(_NO_TAIL)
    normal = [_unsalted(line, profile) for line in logical] if profile.salted else logical
    if rules == profile.rules and profile.style == "set":
        normal = _in_one_order(normal)
    form = _form(profile, rules, logical, normal, len(physical), warnings)
    return replace(form, unfinished=is_unfinished(unix(text)))


def canonicalise_1(text: str, profile: Profile) -> Canonical:
    """The form under the rules of version 1."""
    physical = physical_lines(text)
    profile = _before_3(profile)
    logical = list(_kept_1(physical, profile))
    normal = [profile.salted.sub("ENC", one) for one in logical] if profile.salted else logical
    return _form(profile, rules_1(profile), logical, normal, len(physical), [])


def _before_3(profile: Profile) -> Profile:
    """The profile as it was before version 3: fewer lines were known to say nothing."""
    if profile.volatile_2 is None:
        return profile
    return replace(profile, volatile=profile.volatile_2)


def rules_1(profile: Profile) -> str:
    """The name of the profile's rules in version 1."""
    return f"{profile.name}/1"


def rules_2(profile: Profile) -> str:
    """The name of the profile's rules in version 2."""
    return f"{profile.name}/2"


def _in_one_order(lines: list[str]) -> list[str]:
    """`set` lines by what they set; several values of one thing stay as they come."""
    if not all(line.startswith("set ") for line in lines):
        return lines
    return sorted(lines, key=lambda line: line.partition("'")[0])


def _form(
    profile: Profile,
    rules: str,
    logical: list[str],
    normal: list[str],
    line_count: int,
    warnings: list[str],
) -> Canonical:
    named: list[tuple[str, str]] = []
    sections: dict[str, str] = {}  # an outermost line may be long, and around very many
    for path, line in with_paths(logical, profile.style):
        outermost = path[0] if path else line
        if outermost not in sections:
            sections[outermost] = profile.section(outermost)
        named.append((sections[outermost], line))
    return Canonical(
        rules=rules,
        logical=tuple(logical),
        normal=tuple(normal),
        line_count=line_count,
        completeness="partial" if warnings else "complete",
        warnings=tuple(warnings),
        cut=bool(warnings),
        named=tuple(named),
    )


def _logical(physical: Iterable[str], profile: Profile) -> tuple[list[str], bool]:
    """The lines that count, each value in one, and whether the text ends inside of one."""
    found: list[str] = []
    parts: list[str] = []  # of the line under way, while a value of it is open
    within: re.Pattern[str] | None = None
    for line in physical:
        if within is None and _is_noise(line, profile):
            continue
        if profile.values is not None:
            within = profile.values.open_after(line, within)
        parts.append(line if within is not None else line.rstrip(BLANKS))
        if within is None:
            found.append("\n".join(parts))
            parts = []
    if parts:
        found.append("\n".join(parts))
    return found, within is not None


def _is_noise(line: str, profile: Profile) -> bool:
    """Whether a line outside of values says nothing of the configuration."""
    bare = line.strip(BLANKS)
    if not bare or profile.volatile.match(line.rstrip(BLANKS)):
        return True
    if profile.remark and bare.startswith(profile.remark):
        return False
    return bool(profile.comment) and bare.startswith(profile.comment)


def _lacks_tail(logical: list[str], physical: list[str], profile: Profile) -> bool:
    """Whether a text that is what the command shows does not end as that ends."""
    if profile.head is None or (logical and logical[-1].strip() == profile.tail):
        return False
    return any(profile.head.match(line) for line in physical)


def _unsalted(line: str, profile: Profile) -> str:
    """The line without what the device salts anew; the same words inside of a text stay."""
    assert profile.salted is not None
    found = profile.salted.search(line)
    if found is not None and '"' not in line[: found.start()]:
        return profile.salted.sub("ENC", line)
    return _without_salted_keys(line)


def _without_salted_keys(line: str) -> str:
    """The line with nothing between the beginning and the end of each encrypted private key."""
    begin, end = _SALTED_KEY
    parts: list[str] = []
    done = 0
    while (begins := line.find(begin, done)) >= 0 and (ends := line.find(end, begins)) >= 0:
        parts.append(line[done : begins + len(begin)])
        done = ends
    return "".join(parts) + line[done:] if parts else line


def _kept_1(physical: Iterable[str], profile: Profile) -> Iterator[str]:
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
        begun = _BANNER_1.match(line)
        if begun is not None and begun[1] not in line[begun.end() :]:
            banner = begun[1]
        yield line
