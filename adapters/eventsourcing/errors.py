"""Our errors as the library's, which name the same things after PEP 249."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import DataError, InternalError, OperationalError, ProgrammingError
from nats.js.errors import APIError

from domain.errors import (
    BatchTooLarge,
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
    except (Unavailable, StreamMismatch, StreamMisconfigured) as error:
        raise OperationalError(str(error)) from error
    except BatchTooLarge as error:
        raise ProgrammingError(str(error)) from error
    except MalformedEvent as error:
        raise DataError(str(error)) from error
    except StreamGap as error:
        raise InternalError(str(error)) from error
    except APIError as error:
        raise OperationalError(f"JetStream refuses: {error.description}") from error
