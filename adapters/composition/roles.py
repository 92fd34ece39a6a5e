"""What runs all the time, by name: each role is started, and started again, by the supervisor."""

from __future__ import annotations

from adapters.access.refusals import AccessJournal
from adapters.composition.system import System
from adapters.diagnosing.streams import looked_after
from adapters.postgres.witness_book import Asked, WitnessBook
from adapters.roles.collector import Collector
from adapters.roles.differ import Differ
from adapters.roles.keeper import RetentionKeeper
from adapters.roles.key_watch import KeyWatch
from adapters.roles.reaper import TriggerReaper
from adapters.roles.recorder import Recorder
from adapters.roles.sealer import Sealer, key_loader
from adapters.roles.stream_watch import StreamWatch
from adapters.roles.supervisor import Role
from adapters.roles.syslog import SyslogListener, relay_networks
from adapters.syslog.senders import Senders
from adapters.witness.client import Witnesses, parse_witnesses

# How much longer than a manual backup's bound it may take until its end is recorded.
_OVERDUE_MARGIN_SECONDS = 30.0


def collecting_roles(system: System) -> dict[str, Role]:
    """The collector, and the syslog listener when there is to be one."""
    settings = system.settings
    collector = Collector(
        system.nc,
        system.js,
        collecting=system.collecting,
        schedule=system.schedule,
        trigger=system.trigger,
        metrics=system.metrics,
        at_once=settings.collect_at_once,
    )
    found: dict[str, Role] = {"collector": collector.run}
    if settings.syslog_listen is not None:
        found["syslog"] = SyslogListener(
            settings.syslog_listen,
            senders=Senders(collector.settings_at, relay_networks(settings.syslog_relays)),
            hear=collector.hear,
            hurry=collector.hurry,
            metrics=system.metrics,
        ).run
    return found


def differ(system: System) -> Differ:
    """What works out differences: as a role, or for one that had failed."""
    settings = system.settings
    return Differ(
        system.nc,
        system.js,
        devices=system.devices,
        content=system.content,
        keyring=system.keyring,
        dead_letters=system.dead_letters,
        metrics=system.metrics,
        workers=system.differing,
        ack_wait=settings.ack_wait_seconds,
        policies=system.policies,
    )


def reaper(system: System) -> TriggerReaper:
    """What ends interrupted backups: as a role, or for one that had failed."""
    settings = system.settings
    return TriggerReaper(
        system.nc,
        system.js,
        devices=system.devices,
        leases=system.leases,
        dead_letters=system.dead_letters,
        metrics=system.metrics,
        overdue_after=settings.trigger_timeout_seconds + _OVERDUE_MARGIN_SECONDS,
        ack_wait=settings.ack_wait_seconds,
    )


def roles(system: System) -> dict[str, Role]:
    """Every role but the API, by name, for `adapters.roles.supervisor.running`."""
    settings = system.settings
    witnesses = parse_witnesses(settings.witnesses)
    book = WitnessBook(system.pool)

    async def report(asked: Asked) -> None:
        system.metrics.witness_answers.labels(asked.witness, asked.outcome).inc()
        await book.write(asked)

    found: dict[str, Role] = {
        "stream watch": StreamWatch(system.js, looked_after(settings)).run,
        "key watch": KeyWatch(system.keyring).run,
        "recorder": Recorder(
            system.nc,
            system.js,
            devices=system.devices,
            content=system.content,
            keyring=system.keyring,
            dead_letters=system.dead_letters,
            metrics=system.metrics,
            ack_wait=settings.ack_wait_seconds,
        ).run,
        "differ": differ(system).run,
        "reaper": reaper(system).run,
        "sealer": Sealer(
            system.nc,
            feed=system.log.events,
            checkpoints=system.log.checkpoints,
            tiles=system.log.tiles,
            marks=system.log.marks,
            leases=system.leases,
            dead_letters=system.dead_letters,
            metrics=system.metrics,
            key=key_loader(
                settings.log_key.get_secret_value() if settings.log_key else None,
                settings.signing_key_file,
            ),
            base=settings.log_name,
            every=settings.seal_seconds,
            witnesses=Witnesses(witnesses, report=report) if witnesses else None,
            witness_every=settings.witness_seconds,
        ).run,
        "retention": RetentionKeeper(
            system.nc,
            system.js,
            retention=system.keeping.retention,
            remover=system.keeping.remover,
            orphans=system.keeping.orphans,
            leases=system.leases,
            every=settings.retention_seconds,
        ).run,
    }
    journal = AccessJournal(system.refusals, system.keys, every=settings.refusals_told_seconds)
    found["access journal"] = journal.run
    if settings.collector:
        found |= collecting_roles(system)
    for worker in system.projections:
        found[f"projection {worker.name}"] = worker.run
    for builder in system.builders:
        found[f"projection rebuild {builder.name}"] = builder.run
    return found
