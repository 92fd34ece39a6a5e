"""An observation: one reading of one device's configuration, ready to be decided on."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from domain.attribution import DeviceHistory
from domain.events import Completeness, Source


class Observation(Struct, frozen=True, kw_only=True):
    """What the recorder knows of a reading, without its text. Fields as in `SnapshotCreated`.

    `older` are its fingerprints under older rules, by rules, as far as they are needed to compare
    it with snapshots that were recorded under those.
    """

    observation_id: str
    tenant_id: str
    device_id: str
    collected_at: datetime
    fingerprint: str
    text_fingerprint: str
    canonical: str
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    source: Source
    completeness: Completeness
    older: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    trigger_id: str | None = None
    author: str | None = None
    device_history: DeviceHistory | None = None
    actor: str = "system:recorder"
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    def fingerprint_under(self, rules: str) -> str | None:
        """Its fingerprint under given rules; None when it was not worked out."""
        return self.fingerprint if rules == self.canonical else dict(self.older).get(rules)
