"""Real and made-up exports for tests, and random edits of them with what must be told of each."""

from __future__ import annotations

import csv
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct

from adapters.demo import bases
from domain.canonical import Canonical, canonicalise
from domain.routeros.spelling import by_menu
from domain.routeros.vocabulary import ORDERED, SCRIPTS, SETS

_HERE = Path(__file__).resolve().parents[1]


def corpus_folder() -> Path | None:
    """Where the corpus of real exports is: `CONFIGTRAIL_CORPUS`, or beside the repository."""
    root = Path(os.environ.get("CONFIGTRAIL_CORPUS") or _HERE.parent / "shared" / "corpus")
    for folder in (root, root / "routeros"):
        if (folder / "index.csv").is_file():
            return folder
    return None


def corpus_texts() -> dict[str, str]:
    """The texts of the corpus by name; the test is skipped when it is not there."""
    folder = corpus_folder()
    if folder is None:
        pytest.skip("no corpus of real exports: set CONFIGTRAIL_CORPUS to a folder with index.csv")
    with (folder / "index.csv").open(newline="") as index:
        names = [row["file"] for row in csv.DictReader(index)]
    return {name: (folder / name).read_bytes().decode() for name in names}


def made_up() -> list[str]:
    """Exports of made-up devices, one logical line a line."""
    texts = [
        bases.configuration(7, name="a", lan="10.1.1", wan=1, interfaces=bases.WIFI),
        bases.configuration(6, name="b", lan="10.1.2", wan=2, system=bases.SCRIPTS),
        bases.configuration(7, name="c", lan="10.1.3", wan=3, protocols=bases.ROUTING),
        bases.configuration(
            6, name="d", lan="10.1.4", wan=4, interfaces=bases.VPN_SERVER, protocols=bases.VPN_USERS
        ),
    ]
    return [*texts, _partly_off(texts[0]), _partly_off(texts[3])]


def _partly_off(text: str) -> str:
    """The export with every other entry that has a name disabled."""
    lines = text.split("\n")
    named = [at for at, line in enumerate(lines) if _named(line) and line[-1:] not in ("", "\\")]
    for at in named[::2]:
        if " disabled=" not in lines[at]:
            lines[at] += " disabled=yes"
    return "\n".join(lines)


def form_of(text: str) -> Canonical:
    """The canonical form of a RouterOS text."""
    return canonicalise(text, "routeros")


# Files of the corpus that are no exports as a device wrote them: how many of their lines are no
# statements, and what the first of those looks like. Read by hand; all other files are wholly
# understood.
ODD = {
    "lab-artemchikus-r1/000.rsc": (26, "["),
    "lab-artemchikus-r2/000.rsc": (26, "["),
    "tikoci-t140952-p0017-01/000.rsc": (19, "[skyfi@hap94] > $AT ATI"),
    "tikoci-t153357-p0001-01/000.rsc": (1, "   xxx"),
    "tikoci-t153357-p0003-01/000.rsc": (12, "[skyfi@M172-Rizi] /interface/vxlan> print detail "),
    "tikoci-t163038-p0011-01/000.rsc": (2, "[erased queues]"),
}
# Exports in which a menu did not answer.
UNREAD = ("netutils-ag1/000.rsc", "netutils-ag1/003.rsc", "netutils-ag1/004.rsc")


def genuine_texts() -> dict[str, str]:
    """The whole exports of the corpus, by name."""
    return {
        name: text
        for name, text in corpus_texts().items()
        if name not in ODD and name not in UNREAD
    }


class Told(Struct, frozen=True, order=True):
    """What must be told of an edit: menu, kind, and names of properties that changed."""

    section: str
    kind: str
    properties: tuple[str, ...] = ()


class Edited:
    """A configuration by menu, edited step by step; `expected` is what must be told of it.

    No entry is edited twice, so that the edits don't blur one another.
    """

    def __init__(self, text: str, seed: int) -> None:
        self.menus = by_menu(form_of(text).logical)
        self.expected: list[Told] = []
        self._random = random.Random(seed)
        self._touched: set[tuple[str, str]] = set()
        self._moved: set[str] = set()
        self._emptied: set[str] = set()

    def edit(self) -> None:
        """One edit, if a place for it is found."""
        edits: tuple[Callable[[], None], ...] = (
            self._modify,
            self._disable,
            self._rename,
            self._add,
            self._remove,
            self._move,
            self._change_secret,
            self._enable,
            self._add_to_set,
            self._edit_script,
            self._edit_selected,
            self._open_menu,
            self._empty_menu,
            self._move_and_modify,
        )
        self._random.choice(edits)()

    def render(self) -> str:
        """The configuration as an export, its lines and menus in an order that means nothing."""
        menus = list(self.menus.items())
        self._random.shuffle(menus)
        lines = []
        for path, entries in menus:
            shown = list(entries)
            if path not in ORDERED and all(one.startswith("add ") for one in shown):
                self._random.shuffle(shown)
            if self._random.random() < 0.3:
                lines += [f"{path} {one}" for one in shown]
            elif shown:
                lines += [path, *shown]
        width = self._random.choice((0, 40, 61, 80, 100))
        ending = self._random.choice(("\n", "\n", "\r\n"))
        text = "\n".join(_wrapped(line, width, self._random) for line in lines)
        return f"{text}\n".replace("\n", ending)

    def _entry(self, want: Callable[[str, str], bool]) -> tuple[str, int] | None:
        """A random entry that was not edited, is the only one of its kind, and that fits."""
        found = [
            (path, at)
            for path, lines in self.menus.items()
            for at, line in enumerate(lines)
            if want(path, line) and lines.count(line) == 1 and (path, line) not in self._touched
        ]
        return self._random.choice(found) if found else None

    def _replace(self, path: str, at: int, line: str) -> None:
        self._touched.add((path, line))
        self.menus[path][at] = line

    def _tell(self, section: str, kind: str, *properties: str) -> None:
        self.expected.append(Told(section, kind, properties))

    def _modify(self) -> None:
        found = self._entry(lambda path, line: _named(line) and " mtu=" not in line)
        if found:
            path, at = found
            self._replace(path, at, f"{self.menus[path][at]} mtu={self._random.randrange(9000)}")
            self._tell(path, "modified", "mtu")

    def _disable(self) -> None:
        found = self._entry(lambda path, line: _named(line) and " disabled=" not in line)
        if found:
            path, at = found
            self._replace(path, at, f"{self.menus[path][at]} disabled=yes")
            self._tell(path, "disabled", "disabled")

    def _rename(self) -> None:
        found = self._entry(lambda path, line: _named(line) and " name=" in line and len(line) > 40)
        if found:
            path, at = found
            words = self.menus[path][at].split(" ")
            name = f"renamed-{self._random.randrange(10**9)}"
            line = " ".join(f"name={name}" if w.startswith("name=") else w for w in words)
            self._replace(path, at, line)
            self._tell(path, "renamed", "name")

    def _add(self) -> None:
        path = self._random.choice(("/ip pool", "/ip firewall filter", "/interface list"))
        number = self._random.randrange(10**9)
        line = {
            "/ip pool": f"add name=new-{number} ranges=192.0.2.{number % 200}",
            "/ip firewall filter": f"add action=log chain=new-{number} comment=new-{number}",
            "/interface list": f"add name=new-{number}",
        }[path]
        lines = self.menus.setdefault(path, [])
        if path in self._emptied:
            return
        lines.insert(self._random.randrange(len(lines) + 1), line)
        self._touched.add((path, line))
        self._tell(path, "added")

    def _remove(self) -> None:
        found = self._entry(lambda path, line: line.startswith("add "))
        if found:
            path, at = found
            del self.menus[path][at]
            self._tell(path, "removed")

    def _move(self) -> None:
        path = "/ip firewall filter"
        lines = self.menus.get(path, [])
        if len(lines) < 4 or path in self._moved:
            return
        found = self._entry(lambda menu, line: menu == path and lines.index(line) < 2)
        if found:
            self._moved.add(path)
            line = lines.pop(found[1])
            lines.append(line)
            self._touched.add((path, line))
            self._tell(path, "moved")

    def _change_secret(self) -> None:
        found = self._entry(
            lambda path, line: (
                '"' not in line
                and any(f" {name}=" in line for name in ("password", "passphrase", "auth-key"))
            )
        )
        if found:
            path, at = found
            words = self.menus[path][at].split(" ")
            at_word, word = next(
                (n, w)
                for n, w in enumerate(words)
                if w.startswith(("password=", "passphrase=", "auth-key="))
            )
            name = word.partition("=")[0]
            words[at_word] = f"{name}=s3cr3t-{self._random.randrange(10**9)}"
            self._replace(path, at, " ".join(words))
            self._tell(path, "modified", name)

    def _enable(self) -> None:
        found = self._entry(lambda path, line: _named(line) and " disabled=yes" in line)
        if found:
            path, at = found
            self._replace(path, at, self.menus[path][at].replace(" disabled=yes", "", 1))
            self._tell(path, "enabled", "disabled")

    def _add_to_set(self) -> None:
        found = self._entry(lambda path, line: _named(line) and _set_in(line) is not None)
        if found:
            path, at = found
            line = self.menus[path][at]
            word = _set_in(line)
            assert word is not None
            name, _, value = word.partition("=")
            members = [*value.split(","), f"new{self._random.randrange(10**9)}"]
            self._random.shuffle(members)
            self._replace(path, at, line.replace(f" {word}", f" {name}={','.join(members)}"))
            self._tell(path, "modified", name)

    def _edit_script(self) -> None:
        begins = [f' {name}="' for name in SCRIPTS]
        found = self._entry(
            lambda path, line: " name=" in line and sum(one in line for one in begins) == 1
        )
        if found:
            path, at = found
            line = self.menus[path][at]
            begin = next(one for one in begins if one in line)
            number = self._random.randrange(10**9)
            edit = f'{begin}# note {number}\\r\\n:put \\"a\\_b; [ find x=y ]\\";'
            self._replace(path, at, line.replace(begin, edit, 1))
            self._tell(path, "modified", begin.strip(' ="'))

    def _edit_selected(self) -> None:
        found = self._entry(
            lambda path, line: line.startswith("set [ find default-name=") and " l2mtu=" not in line
        )
        if found:
            path, at = found
            line = self.menus[path][at]
            self._replace(path, at, f"{line} l2mtu={self._random.randrange(9000)}")
            self._tell(path, "modified", "l2mtu")

    def _open_menu(self) -> None:
        path = self._random.choice(("/ip hotspot profile", "/ip proxy access", "/tool netwatch"))
        if path not in self.menus:
            number = self._random.randrange(10**9)
            lines = [f"add comment=new-{number}-{n} dst-port={n}" for n in range(2)]
            self.menus[path] = lines
            self._touched.update((path, line) for line in lines)
            for _ in lines:
                self._tell(path, "added")

    def _empty_menu(self) -> None:
        paths = [
            path
            for path, lines in self.menus.items()
            if 0 < len(lines) < 6
            and all(one.startswith("add ") and (path, one) not in self._touched for one in lines)
            and not any(told.section == path for told in self.expected)
        ]
        if paths:
            path = self._random.choice(paths)
            for _ in self.menus[path]:
                self._tell(path, "removed")
            self._emptied.add(path)
            self.menus[path] = []

    def _move_and_modify(self) -> None:
        path = "/ip firewall filter"
        lines = self.menus.get(path, [])
        if len(lines) < 4 or path in self._moved:
            return
        found = self._entry(
            lambda menu, line: menu == path and lines.index(line) < 2 and " log=" not in line
        )
        if found:
            self._moved.add(path)
            line = f"{lines.pop(found[1])} log=yes"
            lines.append(line)
            self._touched.add((path, line))
            self._tell(path, "moved")
            self._tell(path, "modified", "log")


def _set_in(line: str) -> str | None:
    """A property with a set in a line, as written."""
    words = line.split(" ")
    return next((one for one in words if one.partition("=")[0] in SETS and "!" not in one), None)


def _named(line: str) -> bool:
    """Whether an entry is known by its name, so that any other property of it may change."""
    return line.startswith("add ") and " name=" in line and '"' not in line


def _wrapped(line: str, width: int, choice: random.Random) -> str:
    """The line, wrapped as on a terminal of some width (0: not at all), inside of strings too."""
    if not width or choice.random() < 0.2:
        return line
    units = re.findall(r"\\.|.", line, re.DOTALL)
    pieces = ["".join(units[at : at + width]) for at in range(0, len(units), width)]
    return "\\\n    ".join(pieces)
