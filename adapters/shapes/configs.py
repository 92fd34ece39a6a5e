"""A configuration's text, as it is shown."""

from __future__ import annotations

from datetime import datetime

from adapters.reading import ConfigText
from adapters.shapes.out import Out


class ConfigOut(Out):
    """A configuration as it was collected. `sha256_hash` is that of `config_text` in UTF-8.

    `redacted`: secrets in it are keyed hashes; False only when they were asked for by `reveal`.
    """

    id: str
    device_id: str
    config_text: str
    sha256_hash: str
    collected_at: datetime
    last_confirmed: datetime
    size_bytes: int
    line_count: int
    platform: str
    os_version: str | None
    source: str
    completeness: str
    warnings: list[str]
    is_current: bool
    redacted: bool


def config_out(config: ConfigText, *, redacted: bool = False) -> ConfigOut:
    """A text as it is answered."""
    snapshot = config.snapshot
    return ConfigOut(
        id=snapshot.snapshot_id,
        device_id=snapshot.device_id,
        config_text=config.text.decode(),
        sha256_hash=config.sha256_hash,
        collected_at=snapshot.collected_at,
        last_confirmed=snapshot.last_confirmed,
        size_bytes=snapshot.size_bytes,
        line_count=snapshot.line_count,
        platform=snapshot.platform,
        os_version=snapshot.os_version,
        source=snapshot.source,
        completeness=snapshot.completeness,
        warnings=list(snapshot.warnings),
        is_current=snapshot.is_current,
        redacted=redacted,
    )
