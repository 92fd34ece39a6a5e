"""Comparing two texts, as the differ records it and as it is worked out on demand.

Runs in a worker process, because it holds the interpreter's lock, and because a text made to be
slow must be stopped: then the result is a coarse one that says so. Small texts are no exception:
one of 64 KiB on a single line can take more than 5 seconds.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from domain.canonical import ROUTEROS, Canonical, canonicalise
from domain.canonical.form import LogicalForm
from domain.canonical.routeros import logical_form
from domain.diffing import coarse_diff, section_changes, text_diff
from domain.errors import WorkStopped
from domain.events import ChangeSummary, SectionChange
from domain.profiles import PROFILES
from domain.redaction import Redactor
from domain.semantic.comparing import compare as compare_meaning
from domain.semantic.lines import tell_lines
from domain.semantic.policy import PolicyRule
from domain.semantic.summary import summaries
from domain.semantic.telling import tell
from domain.semantic.told import ToldDiff
from domain.semantic.understanding import not_understood

# Beyond it the meaning of texts is not compared, only their lines.
MOST_BYTES = 32 * 1024 * 1024
_MOST_PLACES = 5
# A process that others killed, say for want of memory, or that did not start, gets one more chance.
_MOST_TRIES: Final = 2
_STOPPED: Final = {
    "time": "it took too long",
    "memory": "it took too much memory",
    "killed": f"its process was killed, or did not start, {_MOST_TRIES} times",
}


class Job(Struct, frozen=True):
    """What is to be compared, and under which key secrets are hidden."""

    before: bytes
    after: bytes
    platform: str
    redaction_key: bytes
    device_id: str
    policy: Sequence[PolicyRule]

    @property
    def is_huge(self) -> bool:
        """Whether only the lines may be compared, not the meaning."""
        return max(len(self.before), len(self.after)) > MOST_BYTES


class Comparison(Struct, frozen=True):
    """What the comparison of two texts gives. `told` is None where there is no semantic one."""

    patch: bytes
    lines_added: int
    lines_removed: int
    coarse: bool
    sections: tuple[SectionChange, ...]
    told: ToldDiff | None


async def compared(job: Job, workers: Executor | None) -> Comparison:
    """Compare two texts in a worker; coarsely, if that was stopped."""
    tries = 0
    while True:
        tries += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(workers, compare, job)
        except WorkStopped as stopped:
            if stopped.reason != "killed" or tries == _MOST_TRIES:
                return await asyncio.to_thread(compare_coarsely, job, _STOPPED[stopped.reason])


def compare_coarsely(job: Job, why: str) -> Comparison:
    """One hunk between what both texts begin and end with, and why there is no more."""
    diff = coarse_diff(job.before, job.after, before_label="before", after_label="after")
    note = f"the comparison was stopped, because {why}: what changed is only told as one piece"
    return Comparison(
        diff.patch,
        diff.lines_added,
        diff.lines_removed,
        diff.coarse,
        (),
        ToldDiff(notes=(note,)),
    )


def compare(job: Job) -> Comparison:
    """Compare two texts: line by line, section by section, and in meaning."""
    diff = text_diff(job.before, job.after, before_label="before", after_label="after")
    texts = job.before.decode(), job.after.decode()
    if job.platform == ROUTEROS:
        before, after = map(logical_form, texts)
        sections, told = section_changes(before, after), _meant(before, after, job)
    else:
        one, two = (canonicalise(text, job.platform) for text in texts)
        sections, told = section_changes(one, two), _by_line(one, two, job)
    return Comparison(diff.patch, diff.lines_added, diff.lines_removed, diff.coarse, sections, told)


def summed_up(told: ToldDiff, platform: str) -> tuple[tuple[ChangeSummary, ...], int]:
    """What of the changes may be in an event, and how many are not in it."""
    profile = PROFILES.get(platform)
    return summaries(told, profile.section) if profile else summaries(told)


def _places(text: str) -> list[str]:
    """Where the newer text is not understood: the first places, in words."""
    first = itertools.islice(not_understood(text), _MOST_PLACES)
    return [f"not understood in the newer text: {error}" for error in first]


def _meant(before: LogicalForm, after: LogicalForm, job: Job) -> ToldDiff | None:
    """What changed in meaning."""
    if job.is_huge:
        return None
    found = compare_meaning(before, after)
    told = tell(found, Redactor(job.redaction_key, job.device_id), job.policy)
    if found.line_based:
        told = replace(told, notes=(*told.notes, *_places(job.after.decode())))
    return told


def _by_line(before: Canonical, after: Canonical, job: Job) -> ToldDiff | None:
    """What changed line by line, where the platform's lines are known."""
    profile = PROFILES.get(job.platform)
    if job.is_huge or profile is None:
        return None
    redactor = Redactor(job.redaction_key, job.device_id)
    return tell_lines(before, after, profile, redactor, job.policy)
