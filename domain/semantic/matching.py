"""Which entry of one version is which of the other, among those that are not equal."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import reduce
from operator import xor
from typing import Final, TypeAlias

from domain.routeros.statements import Statement
from domain.semantic import identity

# Comparing each with each stops here: beyond it entries without an identity that changed in several
# properties at once are told as removed and added.
MOST_COMPARISONS: Final = 40_000
# So many entries of a menu that changed are looked at with a property left out.
MOST_LEFT: Final = 20_000
_ALIKE: Final = 0.5

Pairs: TypeAlias = list[tuple[int, int]]


class Entry:
    """An entry with the number of its line.

    `meanings` are its properties by name, the first of those that are given twice; `keys` by what
    it is known again.
    """

    __slots__ = ("at", "keys", "meanings", "statement", "target")

    def __init__(self, section: str, at: int, statement: Statement) -> None:
        self.at = at
        self.statement = statement
        self.meanings = {one.name: one.meaning for one in reversed(statement.properties)}
        self.keys: tuple[identity.Key, ...] = ()
        self.target: str | None = None
        if statement.verb == "add":
            self.keys = identity.keys(section, self.meanings)
        elif statement.verb == "set":
            self.target = statement.target

    @property
    def properties(self) -> frozenset[tuple[str, str]]:
        return frozenset((one.name, one.meaning) for one in self.statement.properties)


def pair(before: Sequence[Entry], after: Sequence[Entry]) -> Pairs:
    """Pairs of line numbers. Each entry is in one pair at most; both have the same command."""
    if not before or not after:
        return []
    matching = _Matching(before, after)
    matching.settings()
    matching.keys()
    matching.but_for_one()
    matching.comments()
    matching.alike()
    return matching.pairs


class _Matching:
    """What is paired so far, and what is left."""

    def __init__(self, before: Sequence[Entry], after: Sequence[Entry]) -> None:
        self._before = {one.at: one for one in before}
        self._after = {one.at: one for one in after}
        self.pairs: Pairs = []

    def settings(self) -> None:
        """`set` of one thing, with `set` of the same thing; also if repeated, one by one."""
        self._by(lambda one: one.target, repeated=True)

    def keys(self) -> None:
        """Entries with the same identity, and then by what else they are known."""
        ranks = {
            key: rank
            for one in (*self._before.values(), *self._after.values())
            for rank, key in enumerate(one.keys)
        }
        for key in sorted(ranks, key=lambda one: (ranks[one], one)):

            def known(one: Entry, key: identity.Key = key) -> Hashable:
                return identity.value(one.meanings, key) if key in one.keys else None

            self._by(known, repeated=ranks[key] == 0)

    def but_for_one(self) -> None:
        """Entries that are equal but for one property, which may also be there or not.

        Of entries with an identity only one that was renamed is known by this.
        """
        if len(self._before) > MOST_LEFT or len(self._after) > MOST_LEFT:
            return
        places: defaultdict[Hashable, deque[int]] = defaultdict(deque)
        for one in self._before.values():
            for rest in self._rests(one):
                places[rest].append(one.at)
        for one in list(self._after.values()):
            for rest in self._rests(one):
                found = places.get(rest)
                while found and found[0] not in self._before:
                    found.popleft()
                if found:
                    self._pair(found[0], one.at)
                    break

    def comments(self) -> None:
        """Entries without an identity, by their comments."""
        for key in identity.comment_keys():

            def known(one: Entry, key: identity.Key = key) -> Hashable:
                if "comment" not in one.meanings or not _may_change(one):
                    return None
                return identity.value(one.meanings, key)

            self._by(known)

    def alike(self) -> None:
        """Entries without an identity that have at least half of their properties in common."""
        old = [one for one in self._before.values() if _may_change(one)]
        new = [one for one in self._after.values() if _may_change(one)]
        if not old or not new or len(old) * len(new) > MOST_COMPARISONS:
            return
        properties = {id(one): one.properties for one in (*old, *new)}
        scored = []
        for one in old:
            mine = properties[id(one)]
            for two in new:
                theirs = properties[id(two)]
                score = len(mine & theirs) / max(len(mine), len(theirs), 1)
                same_chain = one.meanings.get("chain") == two.meanings.get("chain")
                if score >= _ALIKE and same_chain:
                    scored.append((-score, abs(one.at - two.at), one.at, two.at))
        for _, _, here, there in sorted(scored):
            if here in self._before and there in self._after:
                self._pair(here, there)

    def _rests(self, one: Entry) -> Iterable[Hashable]:
        """What is left of an entry without one of its properties, and all of it."""
        if one.statement.verb != "add":
            return
        properties = one.properties
        if one.keys:
            name = one.meanings.get("name")
            rest = properties - {("name", name)}
            if name is not None and rest:
                yield "renamed", rest
            return
        # A number in place of each set: sets would take memory by the square of their size.
        hashes = [hash(one) for one in sorted(properties)]
        whole = reduce(xor, hashes, len(hashes))
        yield whole
        if len(hashes) > 1:
            for left_out in hashes:
                yield whole ^ left_out ^ len(hashes) ^ (len(hashes) - 1)

    def _by(self, known: Callable[[Entry], Hashable], *, repeated: bool = False) -> None:
        """Pair what is known by the same; what `repeated` says may occur several times."""
        places: list[defaultdict[Hashable, list[int]]] = []
        for entries in (self._before, self._after):
            found: defaultdict[Hashable, list[int]] = defaultdict(list)
            for one in entries.values():
                if (key := known(one)) is not None:
                    found[key].append(one.at)
            places.append(found)
        old, new = places
        for key, here in old.items():
            there = new.get(key, [])
            if repeated or (len(here) == 1 and len(there) == 1):
                for old_at, new_at in zip(here, there, strict=False):
                    self._pair(old_at, new_at)

    def _pair(self, here: int, there: int) -> None:
        self.pairs.append((here, there))
        del self._before[here], self._after[there]


def _may_change(one: Entry) -> bool:
    """Whether an entry has no identity, so that it may be one that looks a little different."""
    return one.statement.verb == "add" and not one.keys
