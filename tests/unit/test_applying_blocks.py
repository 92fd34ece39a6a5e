"""What is told of random edits on other platforms, applied to the old configuration."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.canonical import canonicalise
from domain.profiles import PROFILES, Profile
from domain.profiles.profile import with_paths
from domain.semantic.applying_blocks import apply, meaning
from domain.semantic.blocks import Block, BlockChange, Comparing, nested

SAMPLES = Path(__file__).parents[1] / "samples"
# Lists whose order counts, which the samples are short of.
MORE = {
    "ios": "ip access-list extended in\n permit tcp any any eq 22\n permit ip 10.0.0.0 any\n"
    " deny ip any any\naccess-list 7 permit 10.0.0.1\naccess-list 7 deny any\n",
    "eos": "ip access-list in\n   10 permit tcp any any eq ssh\n   20 permit icmp any any\n"
    "   30 deny ip any any\nroute-map a permit 10\n   match tag 1\nroute-map a deny 20\n",
    "frr": "ip prefix-list p seq 5 permit 10.0.0.0/8\nip prefix-list p seq 10 deny any\n"
    "ip prefix-list q seq 5 deny any\n",
    "junos": "policy-options {\n policy-statement p {\n  term a {\n   then accept;\n  }\n"
    "  term b {\n   then reject;\n  }\n  term c;\n }\n}\n",
    "vyos": "",
    "openwrt": "package firewall\n\nconfig rule\n\toption name 'a'\n\toption src 'wan'\n\n"
    "config rule\n\toption name 'b'\n\nconfig redirect\n\toption name 'c'\n",
    "fortios": "config firewall policy6\n edit 1\n  set action accept\n next\n edit 2\n"
    '  set action deny\n next\n edit 3\n  set name "c"\n next\nend\n',
}


def tree(text: str, profile: Profile) -> Block:
    form = canonicalise(text, profile.name)
    kept = form.normal if profile.salted else form.logical
    return nested(with_paths(kept, profile.style), profile.style)


def written(block: Block, style: str, depth: int = 0) -> list[str]:
    """The lines of what is in a block, as the platform writes them."""
    found = []
    for one in block.inside:
        found += [" " * depth + one.line] if one.line else []
        found += written(one, style, depth + 1)
        if style == "brace" and one.line.endswith("{"):
            found.append("}")
        elif style == "edit" and one.line.split(" ")[0] in ("config", "edit"):
            found.append("end" if one.line.startswith("config") else "next")
    return found


def are_known_apart(block: Block) -> bool:
    """Whether no block with lines in it has the title of another one beside it."""
    titles = Counter((*one.path, one.title) for one in block.all_inside())
    return all(titles[*one.path, one.title] == 1 for one in block.all_inside() if one.inside)


class Edited:
    """A text that is edited at random, never so that blocks can't be known apart any more."""

    def __init__(self, text: str, profile: Profile, seed: int) -> None:
        self.text = text
        self._profile = profile
        self._choice = random.Random(seed)

    def edit(self) -> None:
        root = tree(self.text, self._profile)
        places = [one for one in (root, *root.all_inside()) if one.inside]
        where = self._choice.choice(places)
        at = self._choice.randrange(len(where.inside))
        self._choice.choice((self._remove, self._move, self._copy, self._change, self._change))(
            where.inside, at
        )
        text = "\n".join((*written(root, self._profile.style), ""))
        if are_known_apart(tree(text, self._profile)):
            self.text = text

    def _remove(self, inside: list[Block], at: int) -> None:
        del inside[at]

    def _move(self, inside: list[Block], at: int) -> None:
        inside.insert(self._choice.randrange(len(inside)), inside.pop(at))

    def _copy(self, inside: list[Block], at: int) -> None:
        one = Block(inside[at].line, "", None)
        one.inside = list(inside[at].inside)
        self._rename(one)
        inside.insert(self._choice.randrange(len(inside) + 1), one)

    def _change(self, inside: list[Block], at: int) -> None:
        self._rename(inside[at])

    def _rename(self, one: Block) -> None:
        """Another last word, within what stands around it."""
        head, _, last = one.line.rstrip("{; ").rpartition(" ")
        tail = one.line[len(one.line.rstrip("{; ")) :]
        other = self._choice.choice(("a", "b", "7", "'a'", '"b"'))
        one.line = f"{head} {other}{tail}" if head else f"{last}{tail}"


def told(old: Block, new: Block, profile: Profile) -> list[BlockChange]:
    return Comparing(profile.watched.ordered, set(), set()).compare(old, new).changes


@pytest.mark.parametrize("platform", PROFILES)
def test_a_difference_applied_to_the_old_gives_the_new(platform: str) -> None:
    profile = PROFILES[platform]
    ordered = profile.watched.ordered
    sample = MORE[platform] + (SAMPLES / f"{platform}.txt").read_text()

    assert are_known_apart(tree(sample, profile))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 8))
    def check(seed: int, edits: int) -> None:
        edited = Edited(sample, profile, seed)
        for _ in range(edits):
            edited.edit()
        old, new = tree(sample, profile), tree(edited.text, profile)
        changes = told(old, new, profile)
        assert meaning(apply(old, changes, ordered), ordered) == meaning(new, ordered)
        assert (meaning(old, ordered) == meaning(new, ordered)) == (not changes)

    check()
