"""Becomes a server: what must happen in the child between fork and exec, as a script of its own.

Run as `python -I -S launch.py SPEC -- COMMAND…` with SPEC in JSON. A script instead of a
`preexec_fn`: nothing runs between fork and exec in a copy of a threaded program, and failures
have a voice (standard error is the server's log). The process keeps its id through exec.
Standard library only, and nothing of Configtrail: it runs before any package can be imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def started(pid: int) -> str | None:
    """What tells this process from a later one with the same id; None when there is no such.

    On Linux the boot's id and the start in clock ticks since then, elsewhere what `ps` says.
    """
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()
        if fields[0] in ("Z", "X"):
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{fields[19]}"
    import subprocess

    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() or None


def _call(function: str, *args: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Be `uid` inside of a new namespace; outside of it nothing changes, files included."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def _become_user(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _record(path: Path) -> None:
    """Say who we are before we are a server, so that no server is ever without its record."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"pid": os.getpid(), "started": started(os.getpid())}, file)
    fresh.replace(path)


def die_with_parent(number: int, parent: int) -> None:
    """Have the kernel send signal `number` when the thread that started us ends.

    After every change of identity, since such a change clears it.
    """
    if sys.platform != "linux":
        return
    _call("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        raise ChildProcessError("the parent ended during the start")


def main(arguments: list[str]) -> None:
    """Do as the specification says, then become the command."""
    spec: dict[str, Any] = json.loads(arguments[0])
    command = arguments[2:]
    os.umask(0o077)
    if spec["new_session"]:
        os.setsid()
    if spec["record"]:
        _record(Path(spec["record"]))
    if spec["identity"] == "mapped":
        _enter_user_namespace(spec["uid"], spec["gid"])
    elif spec["identity"] == "user":
        _become_user(spec["uid"], spec["gid"])
    die_with_parent(spec["death_signal"], spec["parent"])
    os.chdir(spec["cwd"])
    os.execve(command[0], command, dict(os.environ))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.stderr.write(f"can't start the server: {error}\n")
        sys.exit(127)
