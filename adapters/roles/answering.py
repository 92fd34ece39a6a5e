"""Answers requests on `config.backup.trigger` by collecting the device.

A request with the `trigger_id` of a backup that is under way comes from Configtrail's own trigger,
which has recorded it. Any other comes from somebody else, whatever id it has: it is recorded first,
and then goes the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg

from adapters.collecting.collection import DeviceCollector, Failed
from adapters.jetstream.intake import IntakeFull
from adapters.jetstream.work import describe
from adapters.roles.trigger import TriggerService
from domain.errors import (
    BackupFailed,
    BackupTimedOut,
    BackupUnderWay,
    InvalidInput,
    LeaseHeld,
    LeaseLost,
    MasterKeyUnknown,
    Unavailable,
)
from domain.events import DeviceSettings
from domain.fields import JUMP_PLATFORM
from domain.ids import check_device_id, check_tenant_id

log = logging.getLogger(__name__)

ACTOR: Final = "service:nats"


class Asked(Struct, frozen=True):
    """A request, as sent. `join`: rather wait for a collection under way than be refused."""

    tenant_id: str
    device_id: str
    trigger_id: str | None = None
    reason: str | None = None
    join: bool = False


class Answer(Struct, frozen=True, omit_defaults=True):
    """A reply, as `docs/intake.md` describes it."""

    status: str
    sha256_hash: str | None = None
    message: str | None = None
    error: str | None = None


_decoder = msgspec.json.Decoder(Asked)


class Answering:
    """Does what requests ask for, at most so many at once."""

    def __init__(
        self,
        collecting: DeviceCollector,
        trigger: TriggerService,
        settings_of: Callable[[str, str], Awaitable[DeviceSettings | None]],
        secret_of: Callable[[str, str], str],
        at_once: int,
    ) -> None:
        self._collecting = collecting
        self._trigger = trigger
        self._settings_of = settings_of
        self._secret_of = secret_of
        self._turns = asyncio.Semaphore(at_once)

    async def answer(self, msg: Msg) -> None:
        """Answer one request, whatever comes of it."""
        try:
            answer = await self._answered(msg.data)
        except Unavailable as error:
            answer = Answer("failed", error=str(error))
        except MasterKeyUnknown as error:
            log.error("answering a request for a backup: %s", error)
            answer = Answer("failed", error=error.told)
        except Exception as error:  # noqa: BLE001
            # Whoever waits must hear of it; it is logged with its origin.
            log.error("answering a request for a backup failed: %s", describe(error))
            answer = Answer("failed", error=f"unexpected {type(error).__name__} at the collector")
        if not msg.reply:
            return
        try:
            await msg.respond(msgspec.json.encode(answer))
        except nats.errors.Error as error:
            log.warning("an answer could not be sent: %s", type(error).__name__)

    async def _answered(self, body: bytes) -> Answer:
        try:
            asked = _decoder.decode(body)
            check_tenant_id(asked.tenant_id)
            check_device_id(asked.device_id)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Answer("failed", error="the request must be JSON with tenant_id and device_id")
        except InvalidInput as error:
            return Answer("failed", error=str(error))
        settings = await self._settings_of(asked.tenant_id, asked.device_id)
        if settings is None:
            # It may have been registered so lately that we have not heard of it yet.
            settings = await self._collecting.registered(asked.tenant_id, asked.device_id)
        if settings is None or settings.platform == JUMP_PLATFORM:
            return Answer("failed", error="the device is not in the inventory")
        if asked.trigger_id is None or not await self._trigger.is_under_way(
            asked.tenant_id, asked.device_id, asked.trigger_id
        ):
            return await self._recorded_first(asked)
        async with self._turns:
            return await self._collected(asked, settings)

    async def _collected(self, asked: Asked, settings: DeviceSettings) -> Answer:
        async def inventory(name: str) -> DeviceSettings | None:
            return await self._settings_of(asked.tenant_id, name)

        try:
            done = await self._collecting.collect(
                asked.tenant_id,
                asked.device_id,
                settings,
                inventory,
                source="manual",
                trigger_id=asked.trigger_id,
                secret=self._secret_of(asked.tenant_id, asked.device_id),
                registered=True,
            )
        except LeaseHeld as held:
            # Not by whom: another tenant's poller need not know our machines.
            error = f"a collection of this device is under way{held.since}"
            return Answer("locked", error=error)
        except Failed as failure:
            return Answer("failed", error=f"{failure.kind}: {failure.reason}")
        except (LeaseLost, IntakeFull, Unavailable) as error:
            return Answer("failed", error=str(error))
        return Answer(
            "success",
            sha256_hash=done.sha256_hash,
            message=f"{done.size_bytes} bytes read in {done.seconds:.1f} s",
        )

    async def _recorded_first(self, asked: Asked) -> Answer:
        try:
            done = await self._trigger.run(
                asked.tenant_id, asked.device_id, actor=ACTOR, reason=asked.reason, join=asked.join
            )
        except BackupUnderWay as error:
            return Answer("locked", error=str(error))
        except (BackupFailed, BackupTimedOut) as error:
            return Answer("failed", error=error.reason)
        except InvalidInput as error:
            return Answer("failed", error=str(error))
        return Answer("success", sha256_hash=done.sha256_hash, message=done.message)
