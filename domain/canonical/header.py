"""The lines around a RouterOS export that are no configuration: by-line, identity, prompt."""

from __future__ import annotations

import re

_BY_LINE = re.compile(r"\bby RouterOS\b(?:[ \t]+(\S{1,40}))?")
_BARE_BY_LINE = re.compile(r"[0-9A-Za-z/_:. \t-]{0,40}\bby RouterOS\b[ \t]*\S{0,40}\Z")
_BARE_IDENTITY = re.compile(r"(?:software id|system id|model|serial number)[ \t]*=")
_VERSION = re.compile(r"\d{1,2}\.\d{1,3}(?:\.\d{1,3})?(?:(?:alpha|beta|rc)\d{1,3})?\Z")
_PROMPT = re.compile(r"\[[^\[\]@]{1,64}@[^\[\]]{0,128}\][ \t]*(?:/[\w/ -]{0,128})?>[ \t]*(.*)\Z")
_EXPORT = re.compile(r"(?:/[a-z0-9/ -]{0,128})?\bexport\b[a-z0-9 =._-]*\Z|/?quit\Z|\Z")


def is_header(line: str) -> bool:
    """Whether a line that stands before the configuration is the export's by-line.

    Forms seen: `# jan/15/2024 10:30:00 by RouterOS 6.49.10`, `# 2024-01-15 … by RouterOS 7.14`,
    padded with spaces, masked (`# by RouterOS …`, `# ____-__-__ …`), with `##`, without `#`.
    """
    if line.startswith("#"):
        return _BY_LINE.search(line) is not None
    return _BARE_BY_LINE.match(line) is not None


def header_version(line: str) -> str | None:
    """The version in a by-line; None when it is masked or not shaped like one."""
    found = _BY_LINE.search(line)
    version = found[1] if found else None
    return version if version and _VERSION.match(version) else None


def is_identity(line: str) -> bool:
    """Whether a line before the configuration is one of the by-line's followers without `#`."""
    return _BARE_IDENTITY.match(line) is not None


def is_prompt(line: str) -> bool:
    """Whether a line is a prompt with nothing after it, with `export` or with `quit`.

    A prompt followed by any other command is not: that command may be configuration.
    """
    if not line.startswith("["):
        return False
    found = _PROMPT.match(line)
    return found is not None and _EXPORT.match(found[1].strip()) is not None
