"""Credentials: where an inventory says that they lie, and what is found there.

    env:NAME     an environment variable
    file:PATH    a file, relative to the folder of credentials
    store:NAME   the tenant's own store, encrypted under its key
    vault:MOUNT/PATH   a secret of a KV engine (version 2) of OpenBao or HashiCorp Vault
    agent        the SSH agent of this program

A stored one may stand for one of the others, which is then looked for in its place. What is found
is a private key (it begins with -----BEGIN), a JSON object with the fields username, password,
private_key, passphrase and enable (the password of a device's privileged mode), or else a
password. Invariant: none of it is in any error.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from adapters.collecting.vault import Vault
from adapters.crypto import committed
from adapters.crypto.committed import Unsealable
from adapters.crypto.keys import KeyRing, TenantKeys
from adapters.jetstream.buckets import Bucket
from adapters.lookups import FILES
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.target import Credential
from domain.credentials import stored_name
from domain.errors import InvalidInput, KeyUnavailable, MasterKeyUnknown
from domain.fields import is_text
from domain.ids import from_token, to_token

BUCKET: Final = "CONFIGTRAIL_CREDENTIALS"
KEPT_SECONDS: Final = 30.0
FILE_MAX: Final = 64 * 1024
ENVIRONMENT_PREFIX: Final = "CONFIGTRAIL_CREDENTIAL_"
_OURS: Final = "CONFIGTRAIL_"
_PURPOSE: Final = b"configtrail/credential/v1"


class Stored(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A credential as JSON."""

    username: str | None = None
    password: str | None = None
    private_key: str | None = None
    passphrase: str | None = None
    enable: str | None = None

    def __repr__(self) -> str:
        return "Stored(…)"


class Kept(Stored, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A credential as the store has it: what it is, or the reference that it stands for; and the
    change that made it so, where that was told."""

    reference: str | None = None
    change_id: str | None = None

    def __repr__(self) -> str:
        return "Kept(…)"


class CredentialStore:
    """The tenants' own credentials, each sealed under its tenant's key and bound to its name."""

    def __init__(self, bucket: Bucket, keyring: KeyRing) -> None:
        self._bucket = bucket
        self._keyring = keyring

    async def put(self, tenant_id: str, name: str, credential: Stored) -> None:
        """Keep a credential in place of the one before."""
        keys = await self._keyring.tenant(tenant_id)
        sealed = _sealed(keys, tenant_id, name, msgspec.json.encode(credential))
        await self._bucket.put(sealed, to_token(tenant_id), to_token(name))

    async def get(self, tenant_id: str, name: str) -> Kept | None:
        """A credential, None when there is none. Raises `KeyUnavailable` when it was altered."""
        sealed = await self._bucket.get(to_token(tenant_id), to_token(name))
        if sealed is None:
            return None
        raw, _ = await self._opened(tenant_id, name, sealed)
        return msgspec.json.decode(raw, type=Kept)

    async def reseal(self, tenant_id: str) -> int:
        """Seal what is sealed under a former key of the tenant under the one of now; how many
        credentials that were. Raises as `get`, when all others are done."""
        self._keyring.forget(tenant_id)
        count = 0
        unopened: list[KeyUnavailable] = []
        for name in await self.names(tenant_id):
            try:
                count += await self._reseal(tenant_id, name)
            except KeyUnavailable as error:
                unopened.append(error)
        if unopened:
            first, more = unopened[0], len(unopened) - 1
            told = f"{first.reason}{f', and so {more} more' if more else ''}. The others are sealed"
            raise KeyUnavailable(first.key, f"{told} under the new key")
        return count

    async def _reseal(self, tenant_id: str, name: str) -> bool:
        place = to_token(tenant_id), to_token(name)
        while (sealed := await self._bucket.get(*place)) is not None:
            raw, key_id = await self._opened(tenant_id, name, sealed)
            keys = await self._keyring.tenant(tenant_id)
            if key_id == keys.key_id:
                return False
            if await self._bucket.replace(_sealed(keys, tenant_id, name, raw), sealed, *place):
                return True
        return False

    async def _opened(self, tenant_id: str, name: str, sealed: bytes) -> tuple[bytes, bytes]:
        """What is sealed, and the id of the key that it is under. Raises `KeyUnavailable`."""
        bound = _bound(tenant_id, name)
        try:
            return _unsealed(await self._keyring.tenant(tenant_id), bound, sealed)
        except Unsealable as error:
            if error.other_key:
                # The tenant's keys may have been rotated since this program asked for them.
                self._keyring.forget(tenant_id)
        try:
            return _unsealed(await self._keyring.tenant(tenant_id), bound, sealed)
        except Unsealable as error:
            raise KeyUnavailable(
                f"the credential {name}", "it was altered, or sealed under another key; set it anew"
            ) from error

    async def remove(self, tenant_id: str, name: str) -> None:
        """Remove a credential."""
        await self._bucket.remove(to_token(tenant_id), to_token(name))

    async def names(self, tenant_id: str) -> list[str]:
        """The names of the tenant's credentials."""
        return [from_token(one) for one in await self._bucket.names(to_token(tenant_id))]


class Credentials:
    """Finds credentials. `trusted`: whoever names them is the one who runs this program, so that
    any variable and any file may be meant; else only those that are put there for it."""

    def __init__(
        self, store: CredentialStore, vault: Vault | None, folder: Path, *, trusted: bool = False
    ) -> None:
        self._store = store
        self._vault = vault
        self._folder = folder
        self._trusted = trusted
        self._kept: dict[tuple[str, str], tuple[float, Credential]] = {}
        self._forgotten: Counter[tuple[str, str]] = Counter()
        self._looking: dict[tuple[str, str], asyncio.Task[Credential]] = {}

    def as_trusted(self) -> Credentials:
        """The same for references that the user of this program gives."""
        return Credentials(self._store, self._vault, self._folder, trusted=True)

    async def find(
        self, tenant_id: str, reference: str | None, username: str | None, since: float = 0.0
    ) -> Credential:
        """What a reference names, with the user name that the inventory gives before its own. What
        was looked up before `since` (by the monotonic clock) does not do.

        Raises `DeviceUnread` (no_credential) without quoting anything but the reference, and
        `MasterKeyUnknown`.
        """
        found = (
            Credential() if reference is None else await self._cached(tenant_id, reference, since)
        )
        if username is None:
            return found
        return msgspec.structs.replace(found, username=username)

    async def _cached(self, tenant_id: str, reference: str, since: float) -> Credential:
        key = (tenant_id, reference)
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - KEPT_SECONDS < kept[0] >= since:
            return kept[1]
        # A fleet has few credentials, and asks for them all at once: each is looked for once.
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.create_task(self._looked_up(key))
            looking.add_done_callback(partial(self._looked, key))
        return await asyncio.shield(looking)

    async def _looked_up(self, key: tuple[str, str]) -> Credential:
        forgotten, asked = self._forgotten[key], time.monotonic()
        found = await self._found(*key)
        if self._forgotten[key] == forgotten:  # else it may be the one before
            self._kept[key] = (asked, found)
        return found

    def _looked(self, key: tuple[str, str], looking: asyncio.Task[Credential]) -> None:
        if self._looking.get(key) is looking:
            del self._looking[key]
        if not looking.cancelled():
            looking.exception()  # whoever asked may be gone: nobody else hears of it then

    def forget(self, tenant_id: str, reference: str) -> None:
        """What a reference names is another one now."""
        key = (tenant_id, reference)
        self._kept.pop(key, None)
        self._looking.pop(key, None)  # what is looked for now may be the one before
        self._forgotten[key] += 1

    async def _found(self, tenant_id: str, reference: str) -> Credential:
        scheme, _, place = reference.partition(":")
        match scheme:
            case "agent":
                return Credential(agent=True)
            case "env":
                return _parsed(self._environment(place), reference)
            case "file":
                return _parsed(await FILES.run(self._file, place), reference)
            case "store":
                try:
                    stored = await self._store.get(tenant_id, place)
                except MasterKeyUnknown:
                    raise  # it is this program that lacks something, and no device
                except KeyUnavailable as error:
                    raise _missing(reference, error.reason) from error
                if stored is None:
                    raise _missing(
                        reference,
                        "is not in the tenant's store: set it (configtrail credentials set), or "
                        "give the device another one",
                    )
                if stored.reference is None or stored_name(stored.reference) is not None:
                    return _credential(stored)
                found = await self._found(tenant_id, stored.reference)
                return msgspec.structs.replace(found, username=stored.username or found.username)
            case "vault":
                if self._vault is None:
                    raise _missing(reference, "can't be asked for: CONFIGTRAIL_VAULT_ADDR is unset")
                return _parsed(await self._vault.read(place), reference)
            case _:
                raise _missing("the reference", "names no known place")

    def _environment(self, name: str) -> str:
        allowed = name.startswith(ENVIRONMENT_PREFIX) or (
            self._trusted and not name.startswith(_OURS)
        )
        if not allowed:
            raise _missing(f"env:{name}", f"must begin with {ENVIRONMENT_PREFIX}")
        value = os.environ.get(name)
        if not value:
            raise _missing(f"env:{name}", "is not set where this program runs")
        return value

    def _file(self, place: str) -> str:
        if not self._trusted:
            return read_file(self._folder, place)
        path = _resolved(self._folder, place)
        return _content(path if path.exists() else _of_its_user(place), place)


def unfit_for_collectors(reference: str | None) -> str | None:
    """The rule that a registered device's reference breaks: of the environment and of files it may
    name only what is meant for it."""
    scheme, _, name = (reference or "").partition(":")
    if scheme == "env" and not name.startswith(ENVIRONMENT_PREFIX):
        return (
            f"must be env:{ENVIRONMENT_PREFIX}NAME where collectors are to use it, or store:NAME "
            "(configtrail credentials set)"
        )
    place = Path(os.path.normpath(name))
    if scheme == "file" and not place.name:
        return "must name a file in the collectors' folder of credentials, not a folder"
    if scheme == "file" and place.parts[0] == os.pardir:
        return "must lie in the collectors' folder of credentials (CONFIGTRAIL_CREDENTIALS_DIR)"
    return None


def read_file(folder: Path, place: str) -> str:
    """A credential's text from the folder of credentials. Raises `DeviceUnread`."""
    path = _resolved(folder, place)
    if not path.is_relative_to(folder.resolve()):
        raise _missing(f"file:{place}", f"must lie in {folder}")
    return _content(path, place)


def _resolved(folder: Path, place: str) -> Path:
    """Where a place of the folder lies. Raises `DeviceUnread`."""
    try:
        return (folder / place).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; no name of a file
        raise _missing(f"file:{place}", "can be no file") from error


def _of_its_user(place: str) -> Path:
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise _missing(f"file:{place}", "names a user who has no folder here") from error


def _content(path: Path, place: str) -> str:
    failed = ""
    try:
        # Without waiting for somebody who writes, as one that opens a named pipe would.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.read(descriptor, FILE_MAX).decode()
        finally:
            os.close(descriptor)
        failed = "it is no plain file"
    except OSError as error:
        failed = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        failed = "not UTF-8"
    # Raised out here: the error above may carry the bytes along.
    raise _missing(f"file:{place}", f"can't be read ({failed})")


def parse_secret(text: str) -> Stored:
    """What a secret's text is. Raises `InvalidInput`, which quotes nothing."""
    if not is_text(text):
        raise InvalidInput("credential", "must be UTF-8 text: set it anew")
    bare = text.strip()
    if bare.startswith("-----BEGIN"):
        return Stored(private_key=bare + "\n")
    if not bare.startswith("{"):
        return Stored(password=text.rstrip("\r\n"))
    rule = "must be a JSON object of username, password, private_key, passphrase, enable: strings"
    try:
        return msgspec.json.decode(bare, type=Stored)
    except msgspec.DecodeError:
        pass
    raise InvalidInput("credential", rule)


def _parsed(text: str, reference: str) -> Credential:
    try:
        return _credential(parse_secret(text))
    except InvalidInput as error:
        raise _missing(reference, error.rule) from error


def _credential(stored: Stored) -> Credential:
    return Credential(
        username=stored.username,
        password=stored.password,
        private_key=stored.private_key,
        passphrase=stored.passphrase,
        enable=stored.enable,
    )


def _missing(what: str, rule: str) -> DeviceUnread:
    return DeviceUnread("no_credential", f"the credential {what} {rule}")


def _sealed(keys: TenantKeys, tenant_id: str, name: str, raw: bytes) -> bytes:
    bound = _bound(tenant_id, name)
    return committed.seal(keys.content_key, _PURPOSE, bound, raw, committed.new_salt())


def _unsealed(keys: TenantKeys, bound: bytes, sealed: bytes) -> tuple[bytes, bytes]:
    """What is sealed under the tenant's key or a former one, and the id of that. Raises
    `Unsealable`, with `other_key` when it is none of them."""
    for key_id in (keys.key_id, *(one.key_id for one in reversed(keys.former))):
        key = keys.opening(key_id).content_key
        try:
            return committed.unseal(key, _PURPOSE, bound, sealed), key_id
        except Unsealable as error:
            if not error.other_key:
                raise
    raise Unsealable(other_key=True)


def _bound(tenant_id: str, name: str) -> bytes:
    return committed.bound(tenant_id.encode(), name.encode())
