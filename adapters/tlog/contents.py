"""The texts that events refer to, beside what is stored: there, right, or gone as an event says.

A text that is not there is held against nobody until the end of the history: an event that comes
later may say that it expired or was erased.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.retention.explaining import explained
from adapters.tlog.evidence import Evidence
from domain.contents import contents_of
from domain.envelope import StoredEvent
from domain.errors import (
    ContentCorrupt,
    ContentMissing,
    KeyDestroyed,
    KeyUnavailable,
    MasterKeyUnknown,
)
from domain.events import ContentExpired, ContentRef, ContentShredded
from domain.ports import ContentKind
from domain.tlog.findings import Finding

_AT_ONCE = 16
_Device = tuple[str, str]


class Contents:
    """Takes the events in order. `gone` texts are not there, and an event says why; `lingering`
    ones can be read although an event says that they are gone: their removal was broken off."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._absent: dict[_Device, dict[int, Finding]] = {}
        # How many texts of a device could be read since its texts were last erased.
        self._there: dict[_Device, int] = {}
        self.compared = self.gone = self.lingering = 0

    async def check(self, stored: Sequence[StoredEvent]) -> list[Finding]:
        """The texts of the next events. What is not there is told by `finish`."""
        wanted = [(one, kind, ref) for one in stored for kind, ref in contents_of(one)]
        found: list[Finding] = []
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            checked = await asyncio.gather(*(self._check(*one) for one in some))
            found += [one for one in checked if one is not None]
        self.compared += len(wanted)
        for one in stored:
            if isinstance(one.event, ContentExpired | ContentShredded):
                await self._explain(one)
        return found

    def finish(self) -> list[Finding]:
        """What is not there, and no event says why."""
        return [one for absent in self._absent.values() for one in absent.values()]

    async def _check(
        self, stored: StoredEvent, kind: ContentKind, ref: ContentRef
    ) -> Finding | None:
        device = (stored.tenant_id, stored.device_id)
        try:
            await self._evidence.content(*device, kind, ref)
        except (ContentMissing, KeyDestroyed) as error:
            missing = Finding("content", "missing", stored.position, str(error))
            self._absent.setdefault(device, {})[ref.sequence] = missing
        except MasterKeyUnknown:
            raise  # others have it: it says nothing of the text
        except (ContentCorrupt, KeyUnavailable) as error:
            return Finding("content", "altered", stored.position, str(error))
        else:
            self._there[device] = self._there.get(device, 0) + 1
        return None

    async def _explain(self, stored: StoredEvent) -> None:
        device = (stored.tenant_id, stored.device_id)
        absent = self._absent.get(device, {})
        for sequence in [one for one in absent if explained(stored, one) is not None]:
            del absent[sequence]
            self.gone += 1
        if isinstance(stored.event, ContentShredded):
            self.lingering += self._there.pop(device, 0)
            return
        assert isinstance(stored.event, ContentExpired)
        for one in stored.event.contents:
            try:
                await self._evidence.content(*device, one.kind, one.content)
            except MasterKeyUnknown:
                raise
            except (ContentMissing, ContentCorrupt, KeyUnavailable):
                continue
            self.lingering += 1
            self._there[device] = self._there.get(device, 1) - 1
