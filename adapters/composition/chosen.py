"""Which roles a program runs: all of them, or those that `CONFIGTRAIL_ROLES` chooses.

The log's signing key is for the sealer alone. A program without the sealer does not read it, does
not make it, and does not start where it could: whoever takes such a program over can't sign.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adapters.roles.supervisor import Role
from adapters.settings import Settings
from domain.errors import InvalidInput

API: Final = "api"
SEALER: Final = "sealer"
COLLECTOR: Final = "collector"
SYSLOG: Final = "syslog"
NAMES: Final = (
    API,
    "recorder",
    "differ",
    "reaper",
    SEALER,
    "retention",
    COLLECTOR,
    SYSLOG,
    "projections",
)
_SETTING: Final = "CONFIGTRAIL_ROLES"
# What every program runs: each is asked for its health, and may refuse who asks for more.
_ALWAYS: Final = ("access journal", "key watch", "stream watch")


def chosen(text: str) -> frozenset[str]:
    """The names of roles that a setting chooses: those that it names, else all; without those that
    it names with a `-` before. Raises `InvalidInput`."""
    named, without = _given(text)
    unknown = sorted((named | without) - set(NAMES))
    if unknown:
        raise InvalidInput(
            _SETTING,
            f"names {unknown[0]!r}; there are {', '.join(NAMES)}, each also with a - before: "
            "all but that one",
        )
    left = frozenset(named or NAMES) - without
    if not left:
        raise InvalidInput(_SETTING, "leaves no role to run")
    return left


def _given(text: str) -> tuple[set[str], set[str]]:
    """The names that a setting gives, and those that it gives with a `-` before."""
    given = [one.strip() for one in text.split(",") if one.strip()]
    without = {one[1:].strip() for one in given if one.startswith("-")}
    return {one for one in given if not one.startswith("-")}, without


def of_chosen(roles: dict[str, Role], names: frozenset[str]) -> dict[str, Role]:
    """Those of a program's roles that are chosen, and what every program runs."""
    return {
        role: run for role, run in roles.items() if role in _ALWAYS or _chosen_by(role) in names
    }


def check_chosen(settings: Settings, *, own_servers: bool) -> frozenset[str]:
    """The roles that a program is to run. Raises `InvalidInput` for some of them on servers of its
    own, which no other program could add the rest to, for what is named and switched off, and where
    one that does not sign has the log key."""
    names = chosen(settings.roles)
    if own_servers and names != frozenset(NAMES):
        raise InvalidInput(
            _SETTING,
            "chooses some roles: set CONFIGTRAIL_NATS_URL and CONFIGTRAIL_POSTGRES_DSN too, since "
            "embedded servers are one program's",
        )
    _check_switches(settings, names)
    if SEALER in names:
        return names
    if settings.log_key is not None:
        raise InvalidInput(
            "CONFIGTRAIL_LOG_KEY",
            f"must be given to the sealer alone, and {_SETTING} leaves it out",
        )
    if _can_be_seen(settings.signing_key_file):
        raise InvalidInput(
            "CONFIGTRAIL_LOG_KEY_FILE",
            f"{settings.signing_key_file} is there, and must be where the sealer is alone: move it "
            f"there, since {_SETTING} leaves the sealer out",
        )
    return names


def _check_switches(settings: Settings, names: frozenset[str]) -> None:
    """Raises `InvalidInput` where a program would run, and do nothing of what it is to do."""
    off: dict[str, tuple[str, str]] = {}
    if not settings.collector:
        off[COLLECTOR] = ("CONFIGTRAIL_COLLECTOR", "is off")
        off[SYSLOG] = off[COLLECTOR]
    elif settings.syslog_listen is None:
        off[SYSLOG] = ("CONFIGTRAIL_SYSLOG_LISTEN", "is not set")
    named, _ = _given(settings.roles)
    # What nobody names is among all the others; it may be off, as long as there are any.
    asked = named & names if names - off.keys() else names
    for role in (one for one in NAMES if one in asked and one in off):
        setting, how = off[role]
        raise InvalidInput(setting, f"{how}, and {_SETTING} chooses {role}: change one of the two")
    if SYSLOG in names - off.keys() and COLLECTOR not in names:
        raise InvalidInput(
            _SETTING,
            f"chooses {SYSLOG} without {COLLECTOR}, which alone acts on what is heard, in the same "
            "program: choose both, or neither",
        )


def _can_be_seen(path: Path) -> bool:
    """Whether a file is there, and not in a folder that is closed to this program."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _chosen_by(role: str) -> str:
    """The name that a role is chosen by."""
    return "projections" if role.startswith("projection ") else role
