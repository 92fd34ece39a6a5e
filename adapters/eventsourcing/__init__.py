"""Persistence for the library `eventsourcing`: set `PERSISTENCE_MODULE=adapters.eventsourcing`.

Importing the library's domain patches `dataclasses` for the whole process, so nothing else in
Configtrail imports this package.
"""

from adapters.eventsourcing.factory import JetStreamFactory

__all__ = ["JetStreamFactory"]
