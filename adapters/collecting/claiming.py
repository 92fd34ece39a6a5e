"""Claims on devices: one reading of a device at a time, across all programs.

A claim stands in the device's record, beside the last attempt, and is taken by compare-and-set: who
takes it has proven by that what the last attempt was. It counts as long as its session goes on, so
what a dead program had claimed is free when its session's lease ends.

Invariants: a session's lease is there before any claim of it, and is not made again when it is
lost; so who takes a claim over knows that the former one's `confirm` fails from then on. The leases
of sessions are kept beside the records: where those are lost or put back, sessions are as well, and
no claim that nobody sees any more can be confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from adapters.collecting.schedule import BUCKET, Attempt, Claim, Record, Schedule
from adapters.collecting.sessions import Session, Sessions, session_lease
from adapters.jetstream.leases import Leases
from domain.errors import LeaseHeld, LeaseLost, Unavailable
from domain.ids import to_token

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 20


class Claims:
    """All that one program claims. `seconds` after its death they are free."""

    def __init__(self, schedule: Schedule, leases: Leases, seconds: float = LEASE_SECONDS) -> None:
        self._schedule = schedule
        self._leases = leases.within(BUCKET)
        self._sessions = Sessions(self._leases, seconds)
        self._own: dict[tuple[str, str], datetime] = {}
        self.seconds = seconds

    async def of(self, tenant_id: str, device_id: str) -> Claim | None:
        """Who reads the device now. Raises `Unavailable`."""
        claim = (await self._schedule.record(tenant_id, device_id)).claim
        return claim if claim is not None and await self._counts(claim) else None

    @asynccontextmanager
    async def claiming(
        self, tenant_id: str, device_id: str, *, task: str | None = None
    ) -> AsyncIterator[Claiming]:
        """The way to a claim, which is given back at the block's end at the latest. When the
        session is lost, the block is cancelled and `LeaseLost` raised.

        Raises `LeaseHeld` when this program reads the device, and `Unavailable`.
        """
        key = (tenant_id, device_id)
        name = f"collect.{to_token(tenant_id)}.{to_token(device_id)}"
        if key in self._own:
            raise LeaseHeld(name, self._leases.name, self._own[key])
        began = self._own[key] = datetime.now(UTC)
        try:
            async with self._sessions.joined(name) as session:
                session.turns += 1
                claim = Claim(
                    session=session.token,
                    turn=session.turns,
                    name=self._leases.name,
                    began=began,
                    task=task,
                )
                mine = Claiming(self, self._schedule, session, name, key, claim)
                try:
                    yield mine
                finally:
                    await mine.leave()
        finally:
            del self._own[key]

    async def _counts(self, claim: Claim) -> bool:
        return await self._leases.holder(session_lease(claim.session)) is not None

    async def refuse_if_taken(self, name: str, claim: Claim, session: Session) -> None:
        """Raise `LeaseHeld` when a claim counts. One of our own session does not: who made it could
        not give it back."""
        if claim.session != session.token and await self._counts(claim):
            raise LeaseHeld(name, claim.name, claim.began)


class Claiming:
    """One device, looked at and claimed."""

    def __init__(
        self,
        claims: Claims,
        schedule: Schedule,
        session: Session,
        name: str,
        key: tuple[str, str],
        claim: Claim,
    ) -> None:
        self._claims = claims
        self._schedule = schedule
        self._session = session
        self._name = name
        self._key = key
        self._claim = claim
        self._tried = False
        self._taken: Record | None = None

    async def look(self) -> Record:
        """The record as it is now."""
        return await self._schedule.record(*self._key)

    async def take(self, record: Record) -> bool:
        """Claim the device if that is its record; False when it has another one by now. Raises
        `LeaseHeld` when somebody else reads it."""
        if record.claim is not None:
            await self._claims.refuse_if_taken(self._name, record.claim, self._session)
        self._tried = True
        self._taken = await self._schedule.replace(*self._key, record, self._claim)
        self._tried = self._taken is not None
        return self._tried

    async def confirm(self) -> None:
        """Prove, to the server, that the claim still counts: to be asked right before an effect
        that no two may have. Raises `LeaseLost`, and `Unavailable` when it can't be proven now."""
        try:
            await self._session.confirm()
        except LeaseLost as error:
            raise LeaseLost(self._name, error.reason) from error

    async def give_back(self, attempt: Attempt) -> Record:
        """End the claim, and keep what became of it. Raises `LeaseLost` when somebody else has
        claimed the device since, and `Unavailable`."""
        assert self._taken is not None
        told = replace(self._taken, last=attempt)
        kept = await self._schedule.replace(*self._key, told, None)
        self._tried, self._taken = False, None
        if kept is None:
            raise LeaseLost(self._name, "somebody else took it")
        return kept

    async def leave(self) -> None:
        """End the claim if there is one, and keep the attempt before. When NATS is away it ends
        with the session, or at the next turn of this program."""
        if not self._tried:
            return
        self._tried = False
        try:
            if self._taken is not None and await self._free(self._taken):
                return
            # The acknowledgement may have been lost.
            record = await self.look()
            if record.claim == self._claim:
                await self._free(record)
        except Unavailable as error:
            log.warning("%s is not given back, it ends by itself: %s", self._name, error)

    async def _free(self, record: Record) -> bool:
        return await self._schedule.replace(*self._key, record, None) is not None
