"""The first thing that every request meets: its id, who asks, how often and how much, and what was
answered.

A browser must not become anybody's tool: host names other than the loopback's and the configured
ones are refused (DNS rebinding), and so is every request from a site that is not let in.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections import deque
from urllib.parse import unquote_to_bytes, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.access.authentication import Authenticator
from adapters.access.refusals import NOBODY, Kind, Refusals, kind_of
from adapters.http.cors import Origins
from adapters.http.errors import error_response, refusal
from adapters.http.rates import OF_TENANT, Rates, source_of
from adapters.http.repeated import repeated, repeated_name
from adapters.http.uploads import is_upload
from adapters.observability.logging import log_context
from adapters.observability.metrics import Metrics
from domain.access import EVERY_TENANT, Principal
from domain.errors import TooManyRequests, Unauthenticated

log = logging.getLogger(__name__)

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
BODY_MAX = 64 * 1024
BODY_SECONDS = 30.0
# What the metrics and the log say of a request whose sender went away before its answer.
GONE = 499
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_PORT = re.compile(r":[0-9]{0,5}\Z")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = _READING | {"POST", "PUT", "PATCH", "DELETE"}
# Answers may hold configuration text or names of devices: no cache keeps them, no page frames them.
# As ASGI has them: no route says anything of these itself.
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class _TooLarge(Exception):
    """The body has more bytes than any request needs."""


class _Answered(Exception):
    """All that was asked for is sent: of a HEAD, everything but a body that would go on."""


class _TooSlow(Exception):
    """The body did not come in time."""


class _Guesses:
    """What one request takes of an address's share of failed ones: before it costs anything, and
    once at most."""

    def __init__(self, rates: Rates, who: str) -> None:
        self._rates = rates
        self._who = who
        self._taken = False

    def take(self) -> None:
        """It may be a guess, or was one. Raises `TooManyRequests`."""
        if not self._taken:
            self._rates.take(self._who)
            self._taken = True

    def give_back(self) -> None:
        """It was none."""
        if self._taken:
            self._rates.give_back(self._who)
            self._taken = False


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can only be reached from this machine."""
    return host in LOOPBACK_NAMES or host.startswith("127.")


class Guard:
    """ASGI middleware. `allowed_hosts` None: any host name is served."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        allowed_hosts: frozenset[str] | None,
        authenticator: Authenticator,
        refusals: Refusals,
        rates: Rates,
        origins: Origins,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._allowed_hosts = allowed_hosts
        self._authenticator = authenticator
        self._refusals = refusals
        self._rates = rates
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other kinds of connections (start and end) pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else secrets.token_hex(16)
        origin = headers.get("origin")
        started = time.perf_counter()
        status = 0
        only_head = scope["method"] == "HEAD"
        if only_head:
            # As GET, whose body is not sent. The server looks at the scope that it made.
            scope = {**scope, "method": "GET"}

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", request_id.encode())
                message["headers"] = [*message["headers"], *_HEADERS, own]
                if self._origins.any:
                    answered = MutableHeaders(scope=message)
                    answered.update(self._origins.headers(origin))
                    answered.add_vary_header("Origin")
            elif only_head:
                await send({"type": "http.response.body"})
                if message.get("more_body", False):
                    raise _Answered
                return
            await send(message)

        with log_context(request_id=request_id):
            try:
                refused = self._refusal(scope, headers) or await self._unknown(scope, headers)
                bounded = scope["method"] not in _READING and not is_upload(scope)
                if refused is None and bounded:
                    receive, body = await _whole(receive)
                    refused = _ambiguous(headers, body)
                await (refused or self._app)(scope, receive, answer)
            except _Answered:
                pass
            except _TooLarge:
                large = error_response(
                    413, "too_large", f"the body must be at most {BODY_MAX} bytes"
                )
                await large(scope, receive, answer)
            except _TooSlow:
                slow = error_response(
                    408, "too_slow", f"the body must come within {BODY_SECONDS:g} s"
                )
                slow.headers["Connection"] = "close"
                await slow(scope, receive, answer)
            except ClientDisconnect:
                # Nobody is there to be answered, and nothing of ours failed.
                status = status or GONE
            except Exception as error:
                # Logged with its place in the code; whoever asked gets the id to ask us about.
                log.exception("a request failed: %s", type(error).__name__)
                if status:
                    raise
                broken = error_response(
                    500, "internal", f"an unexpected error; its log entry has the id {request_id}"
                )
                await broken(scope, receive, answer)
            finally:
                self._account(scope, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        hosts = headers.getlist("host")
        # Of several another reader might take another one.
        host = hosts[0] if len(hosts) == 1 else ""
        if self._allowed_hosts is not None and _name(host) not in self._allowed_hosts:
            return error_response(
                421,
                "unknown_host",
                "this server does not answer to that name; CONFIGTRAIL_HTTP_NAMES adds names",
            )
        if not _is_text(scope["raw_path"]) or not _is_text(scope["query_string"]):
            return error_response(
                400, "invalid_address", "the address must be UTF-8 (percent-encoded), and is not"
            )
        twice = repeated(scope["headers"])
        if twice is not None:
            return error_response(400, "repeated_header", f"{twice} must be given once", twice)
        preflight = self._origins.preflight(scope["method"], headers)
        origin = headers.get("origin")
        if preflight is not None or scope["method"] in _READING or self._origins.allows(origin):
            return preflight
        foreign = origin is not None and _netloc(origin) != host
        if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return error_response(403, "cross_site", "requests from other sites are refused")
        return None

    async def _unknown(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """Find out who asks; the answer to one who is not known, or asks too often. Nobody's body
        is read before that."""
        client = scope.get("client")
        address: str | None = client[0] if client else None
        asking: Principal | None = None
        source = source_of(address)
        guesses = _Guesses(self._rates, source)
        try:
            try:
                given = headers.get("authorization")
                principal = await self._authenticator.principal(given, guesses.take)
                if principal is None and scope["method"] not in _READING:
                    raise Unauthenticated("no_credentials")
            except Unauthenticated as error:
                guesses.take()
                whose = error.tenant or EVERY_TENANT
                kind = Kind(
                    whose,
                    NOBODY,
                    error.reason,
                    error.key_id,
                    remote_address=address,
                    home=error.tenant,
                )
                self._refusals.note(kind)
                raise
            except Exception:
                guesses.give_back()
                raise
            guesses.give_back()
            asking = principal
            self._take(principal, source)
        except TooManyRequests as error:
            kind = kind_of(asking, "too_many_requests", remote_address=address)
            self._refusals.note(kind)
            return refusal(error)
        except Exception as error:
            answer = refusal(error)
            if answer is None:
                raise
            return answer
        scope.setdefault("state", {})["principal"] = principal
        return None

    def _take(self, principal: Principal | None, source: str) -> None:
        if principal is None:
            self._rates.take(source)
            return
        # Names of keys are each tenant's own: two may have one that is called the same.
        self._rates.take(f"key {principal.key_id}" if principal.key_id else principal.actor)
        tenants = {one.tenant for one in principal.grants}
        if len(tenants) == 1 and EVERY_TENANT not in tenants:
            self._rates.take(f"tenant {tenants.pop()}", times=OF_TENANT)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.http_requests.labels(method, route, str(status)).inc()
        self._metrics.http_seconds.labels(method, route).observe(seconds)
        # The route as it is declared, and no parameters: they may hold anything.
        principal: Principal | None = scope.get("state", {}).get("principal")
        who = principal.actor if principal else NOBODY
        log.info("%s %s %d in %.1f ms for %s", method, route, status, seconds * 1000, who)


def _ambiguous(headers: Headers, body: bytes) -> ASGIApp | None:
    """The answer to JSON in which other readers might read something else."""
    if "json" not in headers.get("content-type", "").lower():
        return None
    twice = repeated_name(body)
    if twice is None:
        return None
    return error_response(400, "repeated_name", "the body must give this name once", twice)


async def _whole(receive: Receive) -> tuple[Receive, bytes]:
    """The body, read to its end within its bound, for the application to receive once more."""
    messages: deque[Message] = deque()
    read = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                messages.append(message)
                read += len(message.get("body", b""))
                if read > BODY_MAX:
                    raise _TooLarge
                if not message.get("more_body", False):
                    break
    except TimeoutError as error:
        raise _TooSlow from error

    body = b"".join(one.get("body", b"") for one in messages)

    async def again() -> Message:
        return messages.popleft() if messages else await receive()

    return again, body


def _is_text(part: bytes) -> bool:
    """Whether a part of an address is UTF-8 once it is decoded. What reads it would put U+FFFD in
    the place of what is none: different ids would become one, which nobody sent."""
    if b"%" not in part and part.isascii():
        return True
    try:
        unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        return False
    return True


def _netloc(origin: str) -> str | None:
    """The host that an Origin header names; None for what is no origin at all."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _name(host: str) -> str:
    """The name in a Host header, without its port and an IPv6 address's brackets."""
    name = _PORT.sub("", host).lower()
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name
