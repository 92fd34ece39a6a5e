"""The direct way to a read, from its address to its function.

FastAPI looks for a route twice, and works out anew for each request what the route's functions
take: that costs as much as many a read itself. Here it is worked out once, from the same routes.
What they require, describe and answer stays with them.
Invariant: a request is answered as FastAPI answers it. Whatever is not plain goes FastAPI's way: a
slash within an id, a parameter that does not hold or is missing, other methods than GET.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.convertors import PathConvertor, StringConvertor
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.http.slashes import is_marked
from domain.errors import ConfigtrailError

# A parameter that must be sent; else a default that nobody can change.
_REQUIRED: Any = object()
_UNCHANGING = (str, int, float, bool, type(None))
# Parts of addresses that are taken as they are.
_AS_IT_IS = (StringConvertor, PathConvertor)


class _Parameter(NamedTuple):
    """What a function takes as `name` is sent as `sent`."""

    name: str
    sent: str
    # A field of FastAPI's: of no published type.
    field: Any
    default: Any


class _Call(NamedTuple):
    """A function of a route: what it takes of the request, and which later call of the route takes
    what it returns, under which name; None: none does."""

    function: Callable[..., Awaitable[Any]]
    request: str | None
    path: tuple[_Parameter, ...]
    query: tuple[_Parameter, ...]
    headers: tuple[_Parameter, ...]
    taken_by: tuple[int, str] | None


class _Route(NamedTuple):
    """A route; without calls when it is not plain."""

    match: Callable[[str], re.Match[str] | None]
    route: BaseRoute
    endpoint: Callable[..., Any]
    calls: tuple[_Call, ...] | None


class Direct:
    """ASGI middleware around the router of an application that has all its routes."""

    def __init__(self, app: FastAPI) -> None:
        self._router: ASGIApp = app.router.middleware_stack
        # In the order in which the router looks for them: of two for an address the first is meant.
        self._routes = [
            _Route(one.path_regex.match, one.original_route, one.endpoint, _calls_of(one))
            for one in iter_route_contexts(app.routes)
            if one.endpoint is not None and "GET" in (one.methods or ())
        ]

    @property
    def endpoints(self) -> set[Callable[..., Any]]:
        """The functions of the routes that are gone to directly."""
        return {one.endpoint for one in self._routes if one.calls is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the router do it."""
        answer = None
        if scope["type"] == "http" and scope["method"] == "GET" and not is_marked(scope):
            answer = await self._answer(scope, receive)
        await (answer or self._router)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        path = scope["path"]
        for match, route, endpoint, calls in self._routes:
            found = match(path)
            if found is None:
                continue
            if calls is None:
                return None
            request, ids = Request(scope, receive), found.groupdict()
            given = _given(calls, ids, request)
            if given is None:
                return None
            scope["route"], scope["endpoint"], scope["path_params"] = route, endpoint, ids
            return await _called(calls, given, request)
        return None


async def _called(
    calls: Sequence[_Call], given: Sequence[dict[str, Any]], request: Request
) -> Response:
    """What the last call, the route's own, answers."""
    answer: Any = None
    for call, values in zip(calls, given, strict=True):
        if call.request is not None:
            values[call.request] = request
        answer = await call.function(**values)
        if call.taken_by is not None:
            later, name = call.taken_by
            given[later][name] = answer
    assert isinstance(answer, Response)
    return answer


def _given(
    calls: Sequence[_Call], ids: dict[str, str], request: Request
) -> list[dict[str, Any]] | None:
    """What the request gives to each call; None when not all of it holds."""
    # The last one of a name counts.
    query = dict(request.query_params.multi_items())
    headers = request.headers
    given: list[dict[str, Any]] = []
    try:
        for call in calls:
            values: dict[str, Any] = {}
            for parameters, sent in (
                (call.path, ids),
                (call.query, query),
                (call.headers, headers),
            ):
                for name, alias, field, default in parameters:
                    value = sent.get(alias)
                    if value is None:
                        if default is _REQUIRED:
                            return None
                        values[name] = default
                        continue
                    values[name], wrong = field.validate(value, {}, loc=())
                    if wrong:
                        return None
            given.append(values)
    except ConfigtrailError:
        # An id that breaks a rule. Whether that is what is told first is the route's own to say.
        return None
    return given


def _calls_of(route: RouteContext) -> tuple[_Call, ...] | None:
    """The calls of a route, those that others need before these; None when it is not plain."""
    if not isinstance(route.original_route, APIRoute):
        return None
    if inspect.signature(route.original_route.endpoint).return_annotation != "Response":
        return None
    if any(type(one) not in _AS_IT_IS for one in route.param_convertors.values()):
        return None
    calls: list[_Call] = []
    if not _add(route.dependant, calls) or len({id(one.function) for one in calls}) < len(calls):
        return None
    return tuple(calls)


def _add(needed: Dependant, calls: list[_Call]) -> bool:
    """Add what is needed to the calls, and before it what that needs; False when that is not
    plain."""
    others = (
        needed.cookie_params,
        needed.body_params,
        needed.websocket_param_name,
        needed.http_connection_param_name,
        needed.response_param_name,
        needed.background_tasks_param_name,
        needed.security_scopes_param_name,
        needed.own_oauth_scopes,
        needed.concurrency,
    )
    if any(others) or needed.call is None or not _is_async(needed.call):
        return False
    before: list[tuple[int, str]] = []
    for one in needed.dependencies:
        if not _add(one, calls):
            return False
        if one.name is not None:
            before.append((len(calls) - 1, one.name))
    for index, name in before:
        calls[index] = calls[index]._replace(taken_by=(len(calls), name))
    path = _parameters(needed.path_params)
    query = _parameters(needed.query_params)
    headers = _parameters(needed.header_params)
    if path is None or query is None or headers is None:
        return False
    calls.append(_Call(needed.call, needed.request_param_name, path, query, headers, None))
    return True


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        type(function).__call__
    )


def _parameters(fields: Sequence[Any]) -> tuple[_Parameter, ...] | None:
    """The parameters, None when one is more than a value by its name."""
    found: list[_Parameter] = []
    for field in fields:
        info = field.field_info
        default = _REQUIRED if info.is_required() else field.default
        plain = info.validation_alias in (None, field.alias) and not info.validate_default
        if not plain or not (default is _REQUIRED or isinstance(default, _UNCHANGING)):
            return None
        found.append(_Parameter(field.name, field.alias, field, default))
    return tuple(found)
