"""How long texts are kept, and what became of them: policies, holds, expiry, erasure."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from domain.events.fact import ContentRef, Fact

ContentKind: TypeAlias = Literal["snapshot", "diff", "changes"]
ErasureScope: TypeAlias = Literal["device", "tenant"]


class RetentionPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which texts a tenant keeps: those that any of these keeps; without any, all.

    `days`: what held within so many days; `last`: so many newest ones; `daily`, `weekly`,
    `monthly`: what held at the end of each of so many last days, weeks (from Monday), months (UTC).
    """

    days: int | None = None
    last: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None


class GoneContent(Struct, frozen=True, kw_only=True, gc=False):
    """A content that is not kept any more."""

    kind: ContentKind
    content: ContentRef


class RetentionPolicySet(Fact, frozen=True, kw_only=True, tag="RetentionPolicySet"):
    """Which texts of a tenant are kept from now on. It is told of the tenant, not of a device."""

    change_id: str
    policy: RetentionPolicy
    reason: str | None = None


class LegalHoldPlaced(Fact, frozen=True, kw_only=True, tag="LegalHoldPlaced"):
    """No text of a device, or of a whole tenant, expires or is erased until it is released."""

    hold_id: str
    reason: str


class LegalHoldReleased(Fact, frozen=True, kw_only=True, tag="LegalHoldReleased"):
    """A legal hold ended."""

    hold_id: str
    reason: str


class ContentExpired(Fact, frozen=True, kw_only=True, tag="ContentExpired"):
    """A snapshot's text, and the differences that would tell of it, are not kept any more.

    Recorded before they are removed. `reason` is the policy that let them go, in words.
    """

    run_id: str
    snapshot_id: str
    contents: tuple[GoneContent, ...]
    reason: str


class ContentShredded(Fact, frozen=True, kw_only=True, tag="ContentShredded"):
    """All texts that were kept of a device were erased, by destroying the keys `key_ids` (hex).

    Recorded before that is done. It covers contents up to `content_until` in their stream; what is
    seen afterwards is kept under a new key. With the scope `tenant` it is one of many, or, told of
    the tenant, the end of the tenant's own key: then nothing more is taken for the tenant.
    """

    erasure_id: str
    scope: ErasureScope
    reason: str
    content_until: int
    key_ids: tuple[str, ...]
