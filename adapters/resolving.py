"""The addresses of hosts by their names, in threads of their own: a name server that is away holds
up nobody but who asks for names."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from adapters.lookups import LookUps

_NAMES: Final = LookUps(32, "name-look-up")


async def addresses_of(host: str) -> list[str]:
    """The addresses of a host, each once; of an address itself.

    Raises `OSError`, and `UnicodeError` for what can be no host name.
    """
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    found = await _NAMES.run(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))
