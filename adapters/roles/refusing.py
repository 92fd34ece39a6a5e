"""What the recorder can't record: kept as dead letters with the reason, whole, but nothing of an
erased tenant."""

from __future__ import annotations

import logging

from nats.aio.msg import Msg

from adapters.crypto.keys import KeyRing
from adapters.jetstream.dead_letters import Attached, DeadLetters
from adapters.jetstream.intake import IntakeParts, sent_as
from adapters.jetstream.work import describe
from adapters.observability.metrics import Metrics
from domain.errors import InvalidInput, KeyDestroyed
from domain.intake import claimed_identity, claimed_parts

log = logging.getLogger(__name__)


class Refusing:
    """Makes letters of messages of the intake."""

    def __init__(
        self, *, parts: IntakeParts, keyring: KeyRing, dead_letters: DeadLetters, metrics: Metrics
    ) -> None:
        self._parts = parts
        self._keyring = keyring
        self._dead_letters = dead_letters
        self._metrics = metrics

    async def refuse(
        self,
        msg: Msg,
        error: InvalidInput,
        tenant_id: str | None = None,
        device_id: str | None = None,
        attached: tuple[Attached, ...] = (),
    ) -> None:
        """Keep it as a dead letter, whole, whatever is wrong with it; but nothing of an erased
        tenant: letters are sealed under a key that is not the tenant's, and so was not erased."""
        if tenant_id is not None:
            try:
                await self._keyring.check_not_erased(tenant_id)
            except KeyDestroyed:
                await self.refuse_erased(msg, tenant_id, device_id)
                return
        await self._keep(msg, error, tenant_id, device_id, msg.data, attached)

    async def refuse_erased(self, msg: Msg, tenant_id: str, device_id: str | None) -> None:
        """Refuse what comes for an erased tenant. The letter does not keep what was sent: nothing
        of that tenant is to be kept any more, nor the parts of a text."""
        error = InvalidInput("tenant_id", "must not be of a tenant that was erased")
        await self._keep(msg, error, tenant_id, device_id, b"")
        parts = claimed_parts(msg.data)
        if parts is not None:
            await self._parts.forget(parts.upload)

    async def give_up(self, msg: Msg, error: Exception) -> None:
        """Keep what could not be recorded for a reason of ours."""
        rule = f"recording it failed for a reason of ours: {describe(error)}"
        ours = InvalidInput("message", rule)
        tenant_id, device_id = whose(msg)
        attached: tuple[Attached, ...] = ()
        parts = claimed_parts(msg.data)
        if parts is not None:
            attached = await self._parts.attached(parts.upload, parts.count)
        await self.refuse(msg, ours, tenant_id, device_id, attached)

    async def _keep(
        self,
        msg: Msg,
        error: InvalidInput,
        tenant_id: str | None,
        device_id: str | None,
        body: bytes,
        attached: tuple[Attached, ...] = (),
    ) -> None:
        sequence = msg.metadata.sequence.stream
        await self._dead_letters.put(
            "intake",
            msg.subject,
            body,
            field=error.field,
            rule=error.rule,
            tenant_id=tenant_id,
            device_id=device_id,
            headers=dict(msg.headers or {}),
            dedupe_id=f"intake.{sequence}",
            attached=attached,
        )
        self._metrics.ingest_errors.labels(error.field).inc()
        log.warning("intake message %d is now a dead letter: %s", sequence, error)


def whose(msg: Msg) -> tuple[str | None, str | None]:
    """Tenant and device of a refused message. What came from a tenant's account is that tenant's,
    whatever it says."""
    tenant_id, device_id = claimed_identity(msg.data)
    try:
        _, sender = sent_as(msg.subject)
    except InvalidInput:
        return tenant_id, device_id
    return sender or tenant_id, device_id
