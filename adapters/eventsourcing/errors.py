"""Our errors as the library's, which name the same things after PEP 249."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import (
    DataError,
    InterfaceError,
    InternalError,
    OperationalError,
    PersistenceError,
    ProgrammingError,
)
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.errors import APIError

from domain.errors import (
    AccessRefused,
    BatchTooLarge,
    ConfigtrailError,
    MalformedEvent,
    StreamGap,
    StreamMisconfigured,
    StreamMismatch,
    Unavailable,
)


@contextmanager
def library_errors() -> Iterator[None]:
    """What is raised inside comes out as one of the library's errors."""
    try:
        yield
    except PersistenceError:
        raise
    except (Unavailable, AccessRefused, StreamMismatch, StreamMisconfigured) as error:
        raise OperationalError(str(error)) from error
    except BatchTooLarge as error:
        raise ProgrammingError(str(error)) from error
    except MalformedEvent as error:
        raise DataError(str(error)) from error
    except StreamGap as error:
        raise InternalError(str(error)) from error
    except APIError as error:
        raise OperationalError(f"JetStream refuses: {error.description}") from error
    except MaxPayloadError as error:
        raise DataError(
            "an event is larger than the server takes; raise max_payload in its configuration"
        ) from error
    except (NatsError, OSError) as error:
        raise OperationalError(f"NATS: {type(error).__name__}") from error
    except ConfigtrailError as error:
        raise InterfaceError(str(error)) from error
