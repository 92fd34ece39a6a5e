"""The master keys that a program has: the one that all keys shall be under, and former ones.

They come from the environment, or from a file with one key a line, the first of them the one. While
keys are moved to a new master key, both are there: what is wrapped under either opens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from adapters.crypto.master import MasterKey, read_keys, write_new
from adapters.embedded.files import write_private
from domain.errors import InvalidInput, KeyUnavailable, MasterKeyUnknown

_FORMER = "CONFIGTRAIL_MASTER_KEY_OLD"


class MasterKeys:
    """The master keys of a program. `file`: where they come from, to be read again."""

    def __init__(
        self, first: MasterKey, former: Sequence[MasterKey] = (), *, file: Path | None = None
    ) -> None:
        self.first = first
        self._file = file
        self._known = {one.master_id: one for one in (*former, first)}

    @classmethod
    def load(cls, given: str | None, file: Path, former: str | None = None) -> MasterKeys:
        """The key as given in base64, else as in the file; `former` are given in base64, with
        commas between. Raises `KeyUnavailable`."""
        named = [_named(one) for one in (former or "").split(",") if one.strip()]
        if given is not None:
            return cls(MasterKey.from_base64(given), named)
        first, *others = read_keys(file)
        return cls(first, [*others, *named], file=file)

    @property
    def file(self) -> Path | None:
        """The file that the key lies in, None for one that was given."""
        return self._file

    @property
    def former(self) -> list[MasterKey]:
        """Those that nothing shall be wrapped under any more."""
        return [one for one in self._known.values() if one.master_id != self.first.master_id]

    async def find(self, master_id: bytes) -> MasterKey | None:
        """The key of an id. A file is read again for one that is not known: a key was rotated
        while this program ran. Raises `MasterKeyUnknown` when that can't be read any more."""
        if master_id not in self._known and self._file is not None:
            try:
                await self.read_again()
            except KeyUnavailable as error:
                raise MasterKeyUnknown(error.key, error.reason) from error
        return self._known.get(master_id)

    async def read_again(self) -> None:
        """Take up what the file holds now, and keep what was known."""
        if self._file is not None:
            first, *others = await asyncio.to_thread(read_keys, self._file)
            self.first = first
            self._known |= {one.master_id: one for one in (*others, first)}

    async def begin(self) -> None:
        """Make a new first key, and put it before the others in the file. Raises
        `KeyUnavailable`, `InvalidInput` for keys that do not lie in a file."""
        if self._file is None:
            raise InvalidInput(
                _FORMER,
                "must be set to the master key that there is, and CONFIGTRAIL_MASTER_KEY to a new "
                "one (openssl rand -base64 32), here and for all programs: only a key in a file "
                "is made anew by itself",
            )
        fresh = MasterKey.generate()
        await asyncio.to_thread(_write, self._file, [fresh, self.first, *self.former])
        await self.read_again()

    async def retire(self) -> list[Path]:
        """Leave the first key alone in its file; where the others are now. Done twice it is done
        once. Raises `KeyUnavailable`."""
        if self._file is None:
            return []
        return await asyncio.to_thread(_retire, self._file)


def _named(text: str) -> MasterKey:
    try:
        return MasterKey.from_base64(text)
    except KeyUnavailable as error:
        raise KeyUnavailable(_FORMER, error.reason) from None


def _retire(path: Path) -> list[Path]:
    path = path.resolve()
    first, *others = read_keys(path)
    former = {one.master_id: one for one in others if one.master_id != first.master_id}
    found = []
    for one in former.values():
        retired = path.with_name(f"{path.name}.{one.master_id.hex()[:8]}.retired")
        try:
            write_new(retired, f"{one.to_base64()}\n", like=path)
        except FileExistsError:  # of a run that was broken off
            read_keys(retired)
        except OSError as error:
            raise _unwritable(retired, error) from error
        found.append(retired)
    if others:
        _write(path, [first])
    return found


def _write(path: Path, keys: Sequence[MasterKey]) -> None:
    # Where a link leads: others may have the file by another name. And who runs the command need
    # not be who runs the programs that read it.
    path = path.resolve()
    try:
        write_private(path, "".join(f"{one.to_base64()}\n" for one in keys), like=path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> KeyUnavailable:
    return KeyUnavailable("the master key", f"{path} can't be written: {error.strerror}")
