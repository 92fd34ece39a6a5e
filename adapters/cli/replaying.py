"""`replay`: the log of events, from anywhere in it, as lines that pipe well."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from adapters.cli.arguments import since_time
from adapters.cli.console import err, harmless, write
from adapters.cli.session import log_session
from adapters.replay import FileCheckpoint, Replay
from adapters.settings import Settings
from domain.envelope import Selection, StoredEvent
from domain.errors import InvalidInput, StreamMissing, Unavailable
from domain.events import EVENT_NAMES
from domain.upcast import type_of

Line = Callable[[StoredEvent], str]


def position_or_time(text: str) -> int | datetime:
    """Where a replay begins: the position of the first event wanted, or a time or day (UTC)."""
    if text.isdecimal():
        if int(text) < 1:
            raise typer.BadParameter("positions begin with 1")
        return int(text)
    try:
        return since_time(text)
    except InvalidInput as error:
        raise typer.BadParameter(f"a position such as 42, or a time: it {error.rule}") from None


def event_type(text: str) -> str:
    """The name of an event."""
    if text not in EVENT_NAMES:
        raise typer.BadParameter(f"one of {', '.join(EVENT_NAMES)}")
    return text


def _named(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("must not be empty")
    return text


async def replay(
    settings: Settings,
    *,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="POSITION|TIME",
            parser=position_or_time,
            help="From this position, or what was stored since this time or day (UTC).",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(parser=_named, help="Only this device.")] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", parser=event_type, metavar="TYPE", help="Only this type; may be repeated."
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as events come.")] = False,
    form: Annotated[
        Literal["json", "cloudevents", "table"], typer.Option("--format", help="Of the lines.")
    ] = "json",
    position_file: Annotated[
        Path | None,
        typer.Option(
            help="Go on after the position in this file, and keep it there.", dir_okay=False
        ),
    ] = None,
) -> int:
    """Print the events of the log, one a line, in their order: of all tenants, or of --tenant.

    It needs NATS only. A gap in the log, or a position file of another stream or of other filters,
    ends it with status 1.
    """
    where = Selection(
        tenant_id=settings.tenant if "tenant" in settings.model_fields_set else None,
        device_id=device,
        types=tuple(sorted(set(types or ()))),
    )
    checkpoint = FileCheckpoint(position_file) if position_file else None
    if checkpoint is not None:
        checkpoint.check_writable()
        if start is not None and checkpoint.load() is not None:
            raise typer.BadParameter(
                f"--from and the position in {position_file} contradict each other: leave --from "
                "out to go on there, or give another --position-file"
            )
    begin: Any = start  # what the parser made of it
    line = {"json": _json_line, "cloudevents": _cloudevents_line, "table": _table_line}[form]
    async with log_session(settings) as events:
        try:
            head = await events.head()
        except StreamMissing as error:
            raise Unavailable("the log", "there is none yet; start configtrail up there") from error
        run = Replay(
            events,
            after=begin - 1 if isinstance(begin, int) else 0,
            since=begin if isinstance(begin, datetime) else None,
            where=where,
            follow=follow,
            checkpoint=checkpoint,
        )
        with _progress(head) as told:
            async with aclosing(run.batches()) as batches:
                async for batch in batches:
                    # No await between these three: what is printed is also kept as printed.
                    write("".join(f"{line(stored)}\n" for stored in batch))
                    run.done(batch[-1])
                    told(batch[-1].position)
    return 0


@contextmanager
def _progress(head: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, while the lines go elsewhere."""
    if not err.is_terminal or sys.stdout.isatty():
        yield lambda position: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # By default the bar would take what is written to stdout, and show it itself.
    with Progress(*columns, console=err, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("replaying", total=head)
        yield lambda position: bar.update(task, completed=position, total=max(head, position))


def _json_line(stored: StoredEvent) -> str:
    return _ascii(
        {
            "position": stored.position,
            "stored_at": _utc(stored.stored_at),
            "tenant_id": stored.tenant_id,
            "device_id": stored.device_id,
            "version": stored.version,
            "event_id": stored.event_id,
            "occurred_at": _utc(stored.occurred_at),
            "correlation_id": stored.correlation_id,
            "causation_id": stored.causation_id,
            "traceparent": stored.traceparent,
            "type": type_of(stored.event),
            "event": msgspec.to_builtins(stored.event),
        }
    )


def _cloudevents_line(stored: StoredEvent) -> str:
    """CloudEvents 1.0, JSON format. `position` and `storedat` are extensions of ours."""
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": stored.event_id,
        "source": f"/configtrail/{quote(stored.tenant_id, safe='')}",
        "type": type_of(stored.event),
        "subject": stored.device_id,
        "time": _utc(stored.occurred_at),
        "datacontenttype": "application/json",
        "sequence": str(stored.version),
        "position": str(stored.position),
        "storedat": _utc(stored.stored_at),
        "correlationid": stored.correlation_id,
        "causationid": stored.causation_id,
        "traceparent": stored.traceparent,
        "data": msgspec.to_builtins(stored.event),
    }
    return _ascii({name: value for name, value in document.items() if value is not None})


def _table_line(stored: StoredEvent) -> str:
    name = type_of(stored.event).split(".")[1]
    place = f"{stored.tenant_id}/{stored.device_id}"
    return harmless(
        f"{stored.position:>9}  {_utc(stored.stored_at):27}  {name:22}  {stored.version:>6}"
        f"  {place:32}  {stored.event.actor}"
    )


def _ascii(document: object) -> str:
    """One line in ASCII: nothing in it can steer a terminal."""
    return json.dumps(document, separators=(",", ":"))


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
