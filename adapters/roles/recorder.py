"""The recorder: takes observations off the intake and records one fact for each.

canonical form, keyed fingerprint, decision (pure), content, one event. What breaks a rule of the
intake becomes a dead letter with the reason; nothing is dropped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from msgspec.structs import replace
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from adapters.crypto.keys import KeyRing
from adapters.jetstream.dead_letters import DeadLetters
from adapters.jetstream.intake import CREATE, IntakeParts, sent_as
from adapters.jetstream.streams import INTAKE, INTAKE_SUBJECT
from adapters.jetstream.work import Job, WorkConsumer
from adapters.lengths import fingerprint_under
from adapters.observability.metrics import Metrics
from adapters.roles.devices import DeviceRepository
from adapters.roles.forms import Forms
from adapters.roles.refusing import Refusing, whose
from domain.canonical import detect_platform
from domain.decisions import collection_failed, confirmed, created, observed_event_id
from domain.device import (
    AlreadyRecorded,
    Confirms,
    DeviceState,
    History,
    IsNew,
    classify,
    needs_history,
)
from domain.envelope import StoredEvent
from domain.errors import AppendConflict, InvalidInput, KeyDestroyed
from domain.events import ContentRef, SnapshotCreated
from domain.ids import keyed_digest, observation_id, text_fingerprint
from domain.intake import (
    ConfigParts,
    IntakeFailure,
    IntakeObservation,
    check_text,
    parse_failure,
    parse_observation,
)
from domain.observation import Observation
from domain.ports import REFERRED_WITHIN, ContentStore

log = logging.getLogger(__name__)

CONSUMER = "recorder"
# Each message is there twice, as it came and as a text.
BYTES_AT_ONCE = 16 * 1024 * 1024


def consumer_config(ack_wait: float) -> ConsumerConfig:
    """The consumer by which any number of these share their work."""
    return ConsumerConfig(
        durable_name=CONSUMER,
        filter_subject=INTAKE_SUBJECT,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait,
        max_ack_pending=2_000,
    )


class Recorder:
    """Any number of these may share the intake."""

    def __init__(
        self,
        nc: Client,
        js: JetStreamContext,
        *,
        devices: DeviceRepository,
        content: ContentStore,
        keyring: KeyRing,
        dead_letters: DeadLetters,
        metrics: Metrics,
        ack_wait: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._devices = devices
        self._content = content
        self._keyring = keyring
        self._metrics = metrics
        self._parts = IntakeParts(js)
        self._refusing = Refusing(
            parts=self._parts, keyring=keyring, dead_letters=dead_letters, metrics=metrics
        )
        self._forms = Forms()
        self._work = WorkConsumer(
            nc,
            js,
            INTAKE,
            consumer_config(ack_wait),
            plan=self._plan,
            give_up=self._refusing.give_up,
            weight_limit=BYTES_AT_ONCE,
        )

    async def run(self) -> None:
        """Record until cancelled."""
        await self._work.run()

    def _plan(self, msg: Msg) -> Job:
        now = datetime.now(UTC)
        weight = len(msg.data)
        try:
            kind, sender = sent_as(msg.subject)
            if kind == CREATE:
                observation = parse_observation(msg.data, now)
                _check_sender(sender, observation.tenant_id)
                key = (observation.tenant_id, observation.device_id)
                if observation.config_parts is not None:
                    weight = BYTES_AT_ONCE
                work = partial(self._observe, msg, observation)
                return Job(key, work, weight, key[0], trigger_id=observation.trigger_id)
            failure = parse_failure(msg.data, now)
            _check_sender(sender, failure.tenant_id)
            key = (failure.tenant_id, failure.device_id)
            work = partial(self._fail, msg, failure)
            return Job(key, work, weight, key[0], trigger_id=failure.trigger_id)
        except InvalidInput as error:
            claimed = whose(msg)
            return Job(
                object(), partial(self._refusing.refuse, msg, error, *claimed), weight, claimed[0]
            )

    async def _observe(self, msg: Msg, incoming: IntakeObservation) -> None:
        try:
            await self._observed(msg, incoming)
        except KeyDestroyed:
            await self._refusing.refuse_erased(msg, incoming.tenant_id, incoming.device_id)

    async def _observed(self, msg: Msg, incoming: IntakeObservation) -> None:
        started = time.perf_counter()
        try:
            text = await self._text(incoming)
            raw = check_text(text, incoming.sha256_hash)
        except InvalidInput as error:
            if incoming.config_parts is None:
                await self._refusing.refuse(msg, error, incoming.tenant_id, incoming.device_id)
            else:
                await self._refuse_parts(msg, error, incoming, incoming.config_parts)
            return
        platform = incoming.platform or detect_platform(text, incoming.routeros_version)
        observation = await self._observation(msg, incoming, text, len(raw), platform)
        stored = await self._record(observation, text, raw)
        if stored is not None:
            new = isinstance(stored.event, SnapshotCreated)
            (self._metrics.ingested if new else self._metrics.dedup_skipped).inc()
            self._metrics.ingestion_seconds.observe(time.perf_counter() - started)
        if incoming.config_parts is not None:
            await self._parts.forget(incoming.config_parts.upload)

    async def _text(self, incoming: IntakeObservation) -> str:
        if incoming.config_parts is not None:
            return await self._parts.text(incoming.config_parts.upload, incoming.config_parts.count)
        assert incoming.config_text is not None
        return incoming.config_text

    async def _refuse_parts(
        self, msg: Msg, error: InvalidInput, incoming: IntakeObservation, parts: ConfigParts
    ) -> None:
        """Refuse a text that came in parts, which the letter keeps: they would expire.

        Unless it has its fact already: then another delivery was recorded, and its parts removed.
        """
        tenant_id, device_id = incoming.tenant_id, incoming.device_id
        event_id = observed_event_id(await self._identity(incoming))
        if event_id not in await self._devices.event_ids(tenant_id, device_id):
            attached = await self._parts.attached(parts.upload, parts.count)
            await self._refusing.refuse(msg, error, tenant_id, device_id, attached)
            if not attached:
                return
        await self._parts.forget(parts.upload)

    async def _identity(self, incoming: IntakeObservation) -> str:
        key = (await self._keyring.tenant(incoming.tenant_id)).fingerprint_key
        return observation_id(
            key,
            incoming.tenant_id,
            incoming.device_id,
            incoming.collected_at,
            incoming.sha256_hash,
        )

    async def _observation(
        self,
        msg: Msg,
        incoming: IntakeObservation,
        text: str,
        size: int,
        platform: str,
    ) -> Observation:
        key = (await self._keyring.tenant(incoming.tenant_id)).fingerprint_key
        identity = await self._identity(incoming)
        device = (incoming.tenant_id, incoming.device_id)
        form = await self._forms.summary(device, key, text, platform)
        return Observation(
            observation_id=identity,
            tenant_id=incoming.tenant_id,
            device_id=incoming.device_id,
            collected_at=incoming.collected_at,
            fingerprint=form.fingerprint,
            text_fingerprint=text_fingerprint(key, incoming.sha256_hash),
            canonical=form.rules,
            size_bytes=size,
            line_count=form.line_count,
            platform=platform,
            os_version=form.os_version or incoming.routeros_version,
            source=incoming.source,
            completeness=form.completeness,
            warnings=form.warnings,
            trigger_id=incoming.trigger_id,
            author=incoming.author,
            device_history=incoming.device_history,
            correlation_id=incoming.trigger_id or identity,
            causation_id=f"intake.{msg.metadata.sequence.stream}",
            traceparent=(msg.headers or {}).get("traceparent"),
        )

    async def _record(self, observation: Observation, text: str, raw: bytes) -> StoredEvent | None:
        """Append the observation's fact; None when it has one already."""
        tenant_id, device_id = observation.tenant_id, observation.device_id
        content: ContentRef | None = None
        era, begun = -1, 0.0
        while True:
            state = await self._devices.load(tenant_id, device_id)
            history = None
            if needs_history(state, observation):
                history = await self._devices.history(tenant_id, device_id, state.head.version)
            observation = await self._comparable(observation, text, state, history)
            match classify(state, observation, history):
                case AlreadyRecorded():
                    return None
                case Confirms() as verdict:
                    event = confirmed(observation, verdict)
                case IsNew() as verdict:
                    # A text stored for a decision that lost its race is used by the next one; a
                    # crash in between leaves it without an event, which harms nobody. Not so when
                    # the device's texts were erased meanwhile, and the key with them.
                    if content is None or era != state.era:
                        era, begun = state.era, self._clock()
                        try:
                            content = await self._content.put(
                                tenant_id, device_id, "snapshot", raw, era
                            )
                        except KeyDestroyed:
                            fresh = await self._devices.refresh(tenant_id, device_id)
                            if fresh.era == era:
                                raise
                            continue
                    event = created(observation, verdict, content, state.last_observed_at)
                    if self._clock() - begun > REFERRED_WITHIN.total_seconds():
                        content = None  # by now it may be taken for a text that nothing refers to
                        continue
            try:
                return await self._devices.append(event, state)
            except AppendConflict:
                continue

    async def _comparable(
        self, observation: Observation, text: str, state: DeviceState, history: History | None
    ) -> Observation:
        """The observation with its fingerprints under the rules of what it is compared with.

        So a configuration that was recorded under older rules, and did not change, is known again.
        """
        rules = set(history.rules) if history else set()
        if state.current is not None:
            rules.add(state.current.canonical)
        missing = {one for one in rules if observation.fingerprint_under(one) is None}
        if not missing:
            return observation
        key = (await self._keyring.tenant(observation.tenant_id)).fingerprint_key
        older = list(observation.older)
        for one in sorted(missing):
            fingerprint = await fingerprint_under(one, key, text)
            if fingerprint is not None:
                older.append((one, fingerprint))
        return replace(observation, older=tuple(older))

    async def _fail(self, msg: Msg, failure: IntakeFailure) -> None:
        try:
            await self._failed(failure)
        except KeyDestroyed:
            await self._refusing.refuse_erased(msg, failure.tenant_id, failure.device_id)

    async def _failed(self, failure: IntakeFailure) -> None:
        tenant = await self._keyring.tenant(failure.tenant_id)
        moment = failure.attempted_at.astimezone(UTC).isoformat(timespec="microseconds")
        identity = keyed_digest(
            tenant.fingerprint_key,
            "failure",
            failure.tenant_id,
            failure.device_id,
            moment,
            failure.kind,
            str(failure.attempt),
        )[:16].hex()
        tenant_id, device_id = failure.tenant_id, failure.device_id
        event = collection_failed(
            failure.tenant_id,
            failure.device_id,
            failure_id=identity,
            kind=failure.kind,
            message=failure.message,
            attempted_at=failure.attempted_at,
            source=failure.source,
            attempt=failure.attempt,
            trigger_id=failure.trigger_id,
        )
        while True:
            state = await self._devices.load(tenant_id, device_id)
            newest = state.last_failure_at
            if state.last_failure_id == identity:
                return
            if newest is not None and failure.attempted_at <= newest:
                recorded = await self._devices.event_ids(tenant_id, device_id)
                if event.event_id in recorded:
                    return
            try:
                await self._devices.append(event, state)
            except AppendConflict:
                continue
            return


def _check_sender(sender: str | None, tenant_id: str) -> None:
    """A tenant's account sends for that tenant only."""
    if sender is not None and sender != tenant_id:
        raise InvalidInput("tenant_id", f"must be {sender}: its account sent this")
