"""`audit reconstruct`: what the stream alone tells about a device."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from adapters.cli.arguments import At, Json, Reason, checked_device
from adapters.cli.console import err, harmless, out, print_json
from adapters.cli.session import reading
from adapters.cli.tables import cell, table, when
from adapters.cli.texts import check_reason, print_raw, record_shown
from adapters.settings import Settings
from adapters.tlog.reconstruct import AsOf, Told, as_of, story
from domain.errors import ContentCorrupt, ContentGone, ContentMissing, NotFound
from projections.source import Delivered, Unreadable


class FactOut(BaseModel):
    """One fact, and where it is proven: leaf `index` of the stream's log. Without a version it is
    an event that can't be read; then `occurred_at` is when it was stored."""

    occurred_at: datetime
    position: int
    version: int | None
    device_id: str
    actor: str
    event: str
    words: str
    index: int
    sealed: bool


class AsOfOut(BaseModel):
    """The configuration that held then; its text is what `commitment` was made of."""

    snapshot_id: str
    collected_at: datetime
    position: int
    commitment: str
    size_bytes: int


class StoryOut(BaseModel):
    """All of it."""

    facts: list[FactOut]
    configuration: AsOfOut | None


async def reconstruct(
    settings: Settings,
    *,
    device: Annotated[
        str | None,
        typer.Argument(
            metavar="[DEVICE]", parser=checked_device, help="Without it, all of the tenant's."
        ),
    ] = None,
    at: At = None,
    text: Annotated[
        bool,
        typer.Option(
            "--text",
            help="Print the configuration as of then, byte for byte, which is recorded; needs "
            "--reason.",
        ),
    ] = False,
    reason: Reason = None,
    as_json: Json = False,
) -> int:
    """Tell what happened from the stream alone: each fact, who did it, and where it is proven; and
    the configuration as of a time."""
    if text and device is None:
        raise typer.BadParameter("--text needs a device")
    check_reason(text, reason, "--text")
    found: AsOf | None = None
    unseen: ContentMissing | ContentCorrupt | None = None
    async with reading(settings) as reader:
        async with aclosing(story(reader, settings.tenant, device, at)) as told:
            facts = [one async for one in told]
        if device is not None:
            if not facts:
                raise NotFound("device", device)
            try:
                found = await as_of(reader, settings.tenant, device, at)
            except NotFound:  # it never was read successfully by then
                found = None
            except (ContentMissing, ContentCorrupt) as error:  # the story is told all the same
                unseen = error
            if text and found is not None:
                await record_shown(
                    reader.events,
                    reader.source,
                    settings.tenant,
                    device,
                    found.snapshot_id,
                    reason,
                )
    if text:
        if unseen is not None:
            raise unseen
        if found is None:
            raise NotFound("configuration of", device or "")
        print_raw(found.text)
    elif as_json:
        print_json(StoryOut(facts=[_out(one) for one in facts], configuration=_as_of_out(found)))
    else:
        out.print(_story_table(facts))
    unread = [one.stored.position for one in facts if isinstance(one.stored, Unreadable)]
    if unread:
        err.print(
            f"{len(unread)} of these events can't be read, first {unread[0]}: what they say is not "
            "in the story, nor in the configuration",
            style="yellow",
            soft_wrap=True,
        )
    if unseen is not None:
        accused = not isinstance(unseen, ContentGone)
        why = str(unseen)
        if accused:
            why = (
                f"the text can't be shown: {why}; no event says that it should be so: "
                "run configtrail audit verify"
            )
        err.print(harmless(why), style="red" if accused else "", markup=False, soft_wrap=True)
        return int(accused)
    if found is not None:
        told_at = "as of now" if at is None else f"as of {when(at)}"
        err.print(
            harmless(
                f"{told_at}: snapshot {found.snapshot_id}, {len(found.text)} bytes, seen "
                f"{when(found.collected_at)}, event {found.position}; the text is the one that "
                "the event committed to"
            ),
            markup=False,
            soft_wrap=True,
        )
    return 0


def _story_table(facts: Iterable[Told]) -> Table:
    # The position is what `audit prove` takes; the leaf's index is that less one.
    made = table("WHEN", "POSITION", "DEVICE", "ACTOR", "WHAT", "SEALED", numbers=("POSITION",))
    for one in facts:
        stored = one.stored
        made.add_row(
            cell(when(_happened(stored))),
            cell(stored.position),
            cell(stored.device_id),
            cell("" if isinstance(stored, Unreadable) else stored.event.actor),
            cell(one.words, "yellow" if isinstance(stored, Unreadable) else ""),
            cell("yes" if one.sealed else "no", "" if one.sealed else "yellow"),
        )
    return made


def _happened(stored: Delivered) -> datetime:
    return stored.stored_at if isinstance(stored, Unreadable) else stored.occurred_at


def _out(one: Told) -> FactOut:
    stored = one.stored
    version, actor, event = None, "", ""
    if isinstance(stored, Unreadable):
        event = stored.type_name
    else:
        version, actor = stored.version, stored.event.actor
        event = type(stored.event).__name__
    return FactOut(
        occurred_at=_happened(stored),
        position=stored.position,
        version=version,
        device_id=stored.device_id,
        actor=actor,
        event=event,
        words=one.words,
        index=one.index,
        sealed=one.sealed,
    )


def _as_of_out(found: AsOf | None) -> AsOfOut | None:
    if found is None:
        return None
    return AsOfOut(
        snapshot_id=found.snapshot_id,
        collected_at=found.collected_at,
        position=found.position,
        commitment=found.commitment,
        size_bytes=len(found.text),
    )
