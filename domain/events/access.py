"""Who may see what, and who saw it: keys of the API, refusals, texts that were revealed."""

from __future__ import annotations

from typing import Literal, TypeAlias

from domain.events.fact import Fact, UtcDatetime

RefusalReason: TypeAlias = Literal[
    "no_credentials",
    "bad_credentials",
    "expired",
    "revoked",
    "forbidden",
    "other_tenant",
    "too_many_requests",
]


class ContentRevealed(Fact, frozen=True, kw_only=True, tag="ContentRevealed"):
    """Somebody was given a configuration, or a difference, with the secrets in it. Recorded before
    the text leaves. `from_snapshot_id`: it was the difference between that snapshot and this one.
    """

    reveal_id: str
    snapshot_id: str
    from_snapshot_id: str | None = None
    key_id: str | None = None
    remote_address: str | None = None
    reason: str | None = None


class AccessKeyCreated(Fact, frozen=True, kw_only=True, tag="AccessKeyCreated"):
    """A key of the API was made, for the tenant of this event, or for all when it is `_system`.

    `secret_hash` is SHA-256 (hex) of 256 random bits, which nobody can guess: from it keys are
    known again, and nothing else can be learnt. `permissions`: no more than these of its role.
    """

    key_id: str
    name: str
    role: str
    secret_hash: str
    permissions: tuple[str, ...] = ()
    expires_at: UtcDatetime | None = None


class AccessKeyRevoked(Fact, frozen=True, kw_only=True, tag="AccessKeyRevoked"):
    """A key of the API is not accepted any more."""

    key_id: str
    reason: str | None = None


class AccessRefused(Fact, frozen=True, kw_only=True, tag="AccessRefused"):
    """The API refused requests: `count` alike ones, from `first_at` to `last_at`, told at once.

    `actor` is whom they came from, `user:anonymous` where nobody knows. Without a `remote_address`
    they came from several: those beyond the bound on what is told apart.
    """

    refusal_id: str
    reason: RefusalReason
    count: int
    first_at: UtcDatetime
    last_at: UtcDatetime
    key_id: str | None = None
    permission: str | None = None
    remote_address: str | None = None
