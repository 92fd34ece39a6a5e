"""What an address of NATS says: `tls://user:password@host:4222?ca=/path/ca.crt`.

With `tls://` the handshake comes first, before the server says anything (its `handshake_first`).
By default a server tells a client in clear whether it wants TLS, and nats-py believes it: whoever
sits in between would be sent the password.
"""

from __future__ import annotations

import ssl
from typing import Final, TypedDict
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit, urlunsplit

from domain.errors import InvalidInput

_WHAT: Final = "the address of NATS"
_KNOWN: Final = {"ca", "cert", "key", "inbox"}


class Options(TypedDict, total=False):
    """What `nats.aio.client.Client.connect` is given besides the servers."""

    tls: ssl.SSLContext
    tls_handshake_first: bool
    inbox_prefix: str


def read_address(url: str) -> tuple[list[str], Options]:
    """The servers (several with commas between them), and how to connect to them.

    `ca` names a file of certificates (PEM) that are trusted instead of the system's; `cert` and
    `key` the files of a client certificate; `inbox` where a user with permissions may listen for
    answers. Raises `InvalidInput` for what is no address (or one of a WebSocket), for TLS with some
    servers only, and for files that can't be read. It quotes nothing: there may be a password in
    it.
    """
    servers = [_split(one) for one in url.split(",")]
    asked: dict[str, str] = {}
    for server in servers:
        asked |= parse_qsl(server.query)
    if set(asked) - _KNOWN:
        raise InvalidInput(_WHAT, f"may have {', '.join(sorted(_KNOWN))} after its ?, no more")
    options = Options()
    if "inbox" in asked:
        options["inbox_prefix"] = asked["inbox"]
    schemes = {server.scheme for server in servers}
    if schemes == {"tls"}:
        options["tls"] = _context(asked)
        options["tls_handshake_first"] = True
    elif "tls" in schemes:
        raise InvalidInput(_WHAT, "must be tls:// for all servers, or for none")
    elif asked.keys() & {"ca", "cert", "key"}:
        raise InvalidInput(_WHAT, "must begin with tls:// to have certificates")
    return [urlunsplit(one._replace(query="", path="")) for one in servers], options


def as_user(url: str, user: str, password: str) -> str:
    """The same servers for a user of a tenant's account, which has an inbox of its own."""
    said = []
    for server in map(_split, url.split(",")):
        host = server.netloc.rpartition("@")[2]
        asked = dict(parse_qsl(server.query)) | {"inbox": f"_INBOX_{user}"}
        query = "&".join(f"{name}={quote(value, safe='/.')}" for name, value in asked.items())
        # Not quoted: the client takes both as they stand.
        login = f"{user}:{password}@{host}"
        said.append(urlunsplit(server._replace(netloc=login, query=query)))
    return ",".join(said)


def _split(server: str) -> SplitResult:
    try:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named:
        raise InvalidInput(_WHAT, "must be like nats://user:password@host:4222")
    if parts.scheme in ("ws", "wss"):
        told = "must begin with nats:// or tls://: over WebSocket NATS is not spoken with here"
        raise InvalidInput(_WHAT, told)
    if parts.scheme not in ("nats", "tls"):
        raise InvalidInput(_WHAT, "must begin with nats:// or tls://")
    return parts


def _context(asked: dict[str, str]) -> ssl.SSLContext:
    if ("cert" in asked) != ("key" in asked):
        raise InvalidInput(_WHAT, "must name cert and key together")
    try:
        context = ssl.create_default_context(cafile=asked.get("ca"))
        if "cert" in asked:
            context.load_cert_chain(asked["cert"], asked["key"])
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise InvalidInput(_WHAT, f"its certificate files can't be used: {why}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
