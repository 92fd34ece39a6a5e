"""The names of a deployment's logs. A name is an identity: two logs never have the same."""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache

from domain.envelope import StreamIdentity
from domain.errors import InvalidInput
from domain.ids import check_tenant_id, from_token, to_token
from domain.tlog.note import is_key_name

STREAM_LOG = "stream"
_TENANT = "tenant/"
_MAX_BASE = 100


@lru_cache(4_096)
def tenant_log(tenant_id: str) -> str:
    """The log of one tenant's events."""
    return _TENANT + to_token(tenant_id)


def tenant_of(log: str) -> str | None:
    """The tenant whose log it is; None for the stream's."""
    return from_token(log.removeprefix(_TENANT)) if log.startswith(_TENANT) else None


# Subjects come again and again: each is judged once, of a fleet of this size.
@lru_cache(65_536)
def tenant_of_subject(subject: str) -> str | None:
    """Whose event it is; None when the subject does not tell."""
    parts = subject.split(".")
    if len(parts) != 4:
        return None
    try:
        return check_tenant_id(from_token(parts[1]))
    except (ValueError, InvalidInput):
        return None  # what belongs to no tenant is in the stream's log


# No log's name has a '+': neither a base, nor what comes after it, where tokens escape it.
_COSIGNED = "cosigned+"


def cosigned_name(origin: str) -> str:
    """Under which name the checkpoints of a log stand once more, with what witnesses say of them.
    Witnesses may be slower than the log grows; so these have their own order."""
    return _COSIGNED + origin


def cosigned_origin(name: str) -> str | None:
    """The log whose cosigned checkpoints stand under that name; None for all other names."""
    return name.removeprefix(_COSIGNED) if name.startswith(_COSIGNED) else None


class LogNames:
    """The logs over one stream. `base` names the deployment; a stream that was made anew has the
    same name and another creation time, and so another log."""

    def __init__(self, base: str, identity: StreamIdentity) -> None:
        if not is_key_name(base) or not base.isascii() or len(base) > _MAX_BASE:
            raise InvalidInput(
                "CONFIGTRAIL_LOG_NAME",
                f"must be 1 to {_MAX_BASE} ASCII characters without spaces and '+', such as "
                "configtrail.example/prod",
            )
        self.base = base
        self.identity = identity
        created = identity.created.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self._stream = f"{base}/stream/{identity.name}/{created}"

    def origin(self, log: str) -> str:
        """The name under which a log's checkpoints are signed."""
        return self._stream if log == STREAM_LOG else f"{self.base}/{log}"

    def log(self, origin: str) -> str | None:
        """The log of that name; None when it is none over this stream."""
        if origin == self._stream:
            return STREAM_LOG
        log = origin.removeprefix(f"{self.base}/")
        if log == origin or not log.startswith(_TENANT):
            return None
        try:
            check_tenant_id(tenant_of(log) or "")
        except (ValueError, InvalidInput):
            return None
        return log

    def may_speak_of_this(self, origin: str) -> bool:
        """Whether what is signed under that name may be meant for this stream: not that of another
        deployment's log, nor of another stream's."""
        return origin == self._stream or origin.startswith(f"{self.base}/{_TENANT}")

    def is_another_streams(self, origin: str) -> bool:
        """Whether it names the log of this deployment's stream as it was before it was made anew,
        or of another stream."""
        return origin.startswith(f"{self.base}/stream/") and origin != self._stream
