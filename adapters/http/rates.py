"""How often each principal may ask, and all of a tenant's together: a bucket of tokens each, in
this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address

from domain.errors import TooManyRequests

_MOST_KEPT = 50_000
# A tenant may make keys as it likes: all of them together get as much as so many.
OF_TENANT = 8


def source_of(address: str | None) -> str:
    """Whose requests are counted together that come from an address: of IPv6 those of its network
    of 64 bits, all of whose addresses are one machine's if it likes."""
    if address is None or ":" not in address:
        return f"address {address}"
    try:
        found = IPv6Address(address)
    except ValueError:
        return f"address {address}"
    if found.ipv4_mapped is not None:
        return f"address {found.ipv4_mapped}"
    return f"network {int(found) >> 64:x}"


class Rates:
    """Buckets that hold `burst` requests and fill by `per_second`."""

    def __init__(
        self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def give_back(self, who: str) -> None:
        """Undo the taking of one request, which was not what it was taken for."""
        kept = self._buckets.get(who)
        if kept is not None:
            self._buckets[who] = (min(self._burst, kept[0] + 1.0), kept[1])

    def take(self, who: str, *, times: int = 1) -> None:
        """One request of theirs. Raises `TooManyRequests` when their bucket is empty, which is so
        many times as large as others."""
        now = self._clock()
        per_second, burst = self._per_second * times, self._burst * times
        level, at = self._buckets.pop(who, (burst, now))
        level = min(burst, level + (now - at) * per_second)
        enough = level >= 1.0
        self._buckets[who] = (level - 1.0 if enough else level, now)
        while len(self._buckets) > _MOST_KEPT:
            # Whoever asked least recently has a full bucket, or nearly so.
            self._buckets.popitem(last=False)
        if not enough:
            raise TooManyRequests((1.0 - level) / per_second)
