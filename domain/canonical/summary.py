"""What is recorded of a canonical form, and texts that are known to have one without being read.

Two exports of a device differ mostly in what stands above them, the time. What comes below decides
the form alone, so that equal rests have equal forms.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from domain.canonical import canonicalise, has_rules, plain
from domain.canonical.bounds import TOO_LARGE, is_too_large
from domain.canonical.form import BLANKS, Canonical, is_unfinished, unix
from domain.canonical.header import header_version, is_header
from domain.canonical.platform import ROUTEROS
from domain.events import Completeness
from domain.ids import canonical_fingerprint


class Summary(Struct, frozen=True, kw_only=True):
    """A form without its lines. Fields as in `SnapshotCreated`."""

    rules: str
    fingerprint: str
    line_count: int
    completeness: Completeness
    warnings: tuple[str, ...]
    os_version: str | None


def summary_of(form: Canonical, key: bytes) -> Summary:
    """The summary of a form, its fingerprint under the tenant's `key`."""
    return Summary(
        rules=form.rules,
        fingerprint=canonical_fingerprint(key, form.rules, form.text),
        line_count=form.line_count,
        completeness=form.completeness,
        warnings=form.warnings,
        os_version=form.os_version,
    )


def summarised(text: str, platform: str, key: bytes) -> Summary:
    """The summary of a text's form. Of one that is too large for the rules of its platform no form
    is made: that would take many times its own memory."""
    if not is_too_large(text):
        return summary_of(canonicalise(text, platform), key)
    plainly = unix(text)
    return Summary(
        rules=plain.RULES,
        fingerprint=canonical_fingerprint(key, plain.RULES, plain.normal_text(text)),
        line_count=plainly.count("\n") + is_unfinished(plainly),
        completeness="complete",
        warnings=(TOO_LARGE,) if has_rules(platform) else (),
        os_version=None,
    )


def parted(text: str, platform: str) -> tuple[str, str] | None:
    """The comments above an export, and all the rest; None when they say more than the time and
    the version, or nothing follows them."""
    if platform != ROUTEROS:
        return "", text
    text = unix(text)
    began = 0
    while text.startswith(("#", "\n"), began):
        began = text.find("\n", began) + 1 or len(text)
    head, rest = text[:began], text[began:]
    said = head.lower()
    if not rest or rest.startswith("\ufeff") or "error exporting" in said or "interrupted" in said:
        return None
    return head, rest


def beneath(head: str, rest: Summary) -> Summary:
    """The summary of the whole text, by that of its rest."""
    lines = [line.strip(BLANKS) for line in head.split("\n") if line]
    versions = (header_version(line) for line in lines if is_header(line))
    return replace(
        rest,
        line_count=rest.line_count + head.count("\n"),
        os_version=next((one for one in versions if one is not None), rest.os_version),
    )
