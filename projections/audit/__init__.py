"""Read model `audit`: one row for every event, with who, what, when and where in the stream."""

from projections.audit.queries import (
    EVERYTHING,
    AuditEntry,
    AuditFilter,
    AuditPage,
    audit_page,
    get_entry,
    stream_audit,
)
from projections.audit.shown import ShownAudit, shown_audit, shown_newest

__all__ = [
    "EVERYTHING",
    "AuditEntry",
    "AuditFilter",
    "AuditPage",
    "ShownAudit",
    "audit_page",
    "get_entry",
    "shown_audit",
    "shown_newest",
    "stream_audit",
]
