"""Child processes that are servers: started as another user where they must, ended for certain.

A server never outlives the program: on Linux the kernel ends it when the thread that started it
ends (so start servers from a thread that lives as long as the program, such as the main one). And
since that can't be had everywhere, each server leaves a record by which the next start finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from adapters.embedded import launch

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
_TAIL_LINES = 15


class Identity(msgspec.Struct, frozen=True):
    """Who a server runs as: ourselves, another user, or ourselves under another id.

    `mapped` is a user namespace in which our own id looks like `uid`: it needs no chown and
    reaches all that we reach, but not every kernel or container allows it.
    """

    kind: Literal["self", "user", "mapped"]
    uid: int = -1
    gid: int = -1

    def __str__(self) -> str:
        return {
            "self": "as the present user",
            "user": f"as the user {self.uid}",
            "mapped": f"in a user namespace as {self.uid}",
        }[self.kind]


SELF = Identity("self")


def unprivileged_identities() -> tuple[Identity, ...]:
    """Ways not to be root and to have a name, best first: what Postgres insists on."""
    me = os.geteuid()
    with contextlib.suppress(KeyError):
        if me != 0:
            pwd.getpwuid(me)
            return (SELF,)
    ways = []
    named = sorted((one for one in pwd.getpwall() if one.pw_uid != 0), key=lambda one: one.pw_uid)
    if sys.platform == "linux" and named:
        ways.append(Identity("mapped", named[0].pw_uid, named[0].pw_gid))
    if me == 0:
        for name in ("nobody", "daemon"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                ways.append(Identity("user", entry.pw_uid, entry.pw_gid))
                break
    return tuple(ways)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a server sees of our environment: never the program's own secrets."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"} | dict(extra or {})


def free_port() -> int:
    """A TCP port of the loopback that is free now. Whoever binds it must cope with a collision."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A process that this program started and owns."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        identity: Identity = SELF,
        environment: Mapping[str, str] | None = None,
        record: Path | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
        stdin: bytes | None = None,
    ) -> Child:
        """Start `command` with its output appended to `log` (made with mode 0600).

        With a `record` it is a server: it leads a session of its own, so that an interrupt from
        the terminal reaches the program alone, which then stops the server in good order.
        """
        spec = {
            "identity": identity.kind,
            "uid": identity.uid,
            "gid": identity.gid,
            "death_signal": int(death_signal),
            "parent": os.getpid(),
            "record": str(record) if record else None,
            "new_session": record is not None,
            "cwd": str(cwd),
        }
        launcher = [sys.executable, "-I", "-S", launch.__file__, json.dumps(spec), "--"]
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await _begun(
                asyncio.create_subprocess_exec(
                    *launcher,
                    *command,
                    stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env=child_environment(environment),
                )
            )
        finally:
            os.close(output)
        child = cls(process)
        if stdin is not None:
            try:
                await process.communicate(stdin)
            except BaseException:
                await child.end()
                raise
        return child

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended and was waited for."""
        return self._process.returncode is not None

    async def wait(self) -> int:
        """Wait for its end; its exit status (negative: the signal that ended it)."""
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended: then its id may be somebody else's."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def finish(self, within: float = 60) -> int:
        """Wait for a command that ends by itself; kill it when it does not, or when cancelled."""
        try:
            async with asyncio.timeout(within):
                return await self.wait()
        finally:
            await self.end()

    async def end(self, *signals: signal.Signals, within: float = 10) -> None:
        """End it: each of `signals` in turn, `within` seconds each, then SIGKILL.

        Cancelled, it kills at once and still waits for the end: no process is left behind.
        """
        try:
            for number in signals:
                self.send(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(within):
                        await self.wait()
                        return
        finally:
            self.send(signal.SIGKILL)
            await self.wait()


async def _begun(
    beginning: Coroutine[None, None, asyncio.subprocess.Process],
) -> asyncio.subprocess.Process:
    """The process, once it runs. Cancelled, it is killed and its end waited for: uvloop would kill
    it and not wait."""
    began = asyncio.ensure_future(beginning)
    try:
        return await asyncio.shield(began)
    except asyncio.CancelledError:
        await Child(await began).end()
        raise


async def end_stale(record: Path, *signals: signal.Signals, within: float = 10) -> int | None:
    """End the server that an earlier, killed program left behind; its id, or None.

    Only a process that has both the recorded id and the recorded start is touched, and it is
    held by a descriptor meanwhile, so that its id can't change hands.
    """
    noted = _recorded(record)
    if noted is None:
        return None
    pid, started = noted
    try:
        if not await _end_exactly(pid, started, (*signals, signal.SIGKILL), within):
            return None
    finally:
        forget(record)
    return pid


def forget(record: Path) -> None:
    """Remove a server's record, once its process has ended."""
    record.unlink(missing_ok=True)


def _recorded(record: Path) -> tuple[int, str] | None:
    try:
        noted = json.loads(record.read_bytes())
        return int(noted["pid"]), str(noted["started"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # Cut short by a power cut: what it told of did not survive that either.
        forget(record)
        return None


async def _end_exactly(
    pid: int, started: str, signals: Sequence[signal.Signals], within: float
) -> bool:
    """Signal the process `pid` until it has ended, if it is the one that began at `started`."""
    held = None
    if sys.platform == "linux":
        try:
            held = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
    try:
        if launch.started(pid) != started:
            return False
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                if held is None:
                    os.kill(pid, number)
                else:
                    signal.pidfd_send_signal(held, number)
            deadline = asyncio.get_running_loop().time() + within
            while asyncio.get_running_loop().time() < deadline:
                if launch.started(pid) != started:
                    return True
                await asyncio.sleep(0.02)
        raise ChildProcessError(f"the stale server, process {pid}, does not end")
    finally:
        if held is not None:
            os.close(held)


def log_tail(log: Path, since: int = 0) -> str:
    """The last lines of a log, of those written after the offset `since`."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
