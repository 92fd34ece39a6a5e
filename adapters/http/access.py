"""What each route requires: declared where the route is, enforced in one place, denied by default.

A route declares `dependencies=[requires(Permission.READ)]`, or takes the principal itself:
`principal: Annotated[Principal, requires(Permission.TRIGGER)]`; or it is `public()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from msgspec import Struct

from adapters.access.refusals import NOBODY, Refusals, kind_of
from adapters.http.slashes import resolve
from domain.access import EVERY_TENANT, Permission, Principal
from domain.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from domain.ids import check_tenant_id

__all__ = [
    "Authorise",
    "Permission",
    "Principal",
    "Route",
    "may",
    "principal_of",
    "public",
    "remote_address",
    "requires",
    "routes_of",
]

_NAME_MAX = 40


class _Declared:
    """A route's declaration, as a dependency that gives the principal. None: it is public."""

    def __init__(self, permission: Permission | None, instead: Permission | None = None) -> None:
        self.permission = permission
        self.instead = instead

    async def __call__(self, request: Request) -> Principal:
        return principal_of(request) or Principal(actor=NOBODY)


class Route(Struct, frozen=True):
    """A route as the policy sees it. `query` are the names of all parameters that it takes;
    `instead` is a permission that does as well."""

    path: str
    methods: frozenset[str]
    permission: Permission | None
    query: frozenset[str]
    instead: Permission | None = None


def requires(permission: Permission, *, instead: Permission | None = None) -> Any:
    """The route is for those who have the permission, for the tenant in its address; without one
    there, for those who have it for every tenant. `instead`: having that one does as well."""
    return Depends(_Declared(permission, instead))


def public() -> Any:
    """The route is for everybody: it tells nothing of any tenant."""
    return Depends(_Declared(None))


def principal_of(request: Request) -> Principal | None:
    """Who asks, as the guard has found out; None when nobody knows."""
    found: Principal | None = request.scope.get("state", {}).get("principal")
    return found


def remote_address(request: Request) -> str | None:
    """Where the request comes from."""
    return request.client.host if request.client else None


def may(request: Request, permission: Permission) -> None:
    """Raise, and note it, unless whoever asks may do this as well to the tenant of the address."""
    authorise: Authorise = request.app.state.authorise
    authorise.check(request, permission)


class Authorise:
    """The dependency that every request meets before all others of its route."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._routes: dict[Callable[..., Any], Route] = {}

    def know(self, app: FastAPI) -> None:
        """Take notice of the routes, once all are there. Raises as `routes_of`."""
        self._routes = routes_of(app)
        app.state.authorise = self

    async def __call__(self, request: Request) -> None:
        """Let the request through, or raise why not: first who may, then what may be asked."""
        resolve(request.scope)
        route = self._routes.get(request.scope["endpoint"])
        if route is None:
            raise Forbidden("none", EVERY_TENANT)
        if request.scope["path"].endswith("\n"):
            # To a pattern that is its end as well, and it would be another device's address.
            raise HTTPException(404)
        if route.permission is not None:
            self.check(request, route.permission, route.instead)
        given: set[str] = set()
        for name, _ in request.query_params.multi_items():
            if name not in route.query:
                named = name[:_NAME_MAX] if name.isascii() and name.isidentifier() else "query"
                raise InvalidInput(named, "there is no parameter of this name here")
            if name in given:
                # Only one of them would count, and nobody is told which.
                raise InvalidInput(name, "must be given once")
            given.add(name)

    def check(
        self, request: Request, permission: Permission, instead: Permission | None = None
    ) -> None:
        """Whether the principal has the permission. Another tenant's address is as unknown."""
        principal = principal_of(request)
        address = remote_address(request)
        if principal is None:
            self._refusals.note(kind_of(None, "no_credentials", remote_address=address))
            raise Unauthenticated("no_credentials")
        named: str | None = request.path_params.get("tenant")
        tenant = EVERY_TENANT if named is None else check_tenant_id(named)
        if principal.may(permission, tenant):
            return
        if instead is not None and principal.may(instead, tenant):
            return
        known = named is None or principal.knows(tenant)
        self._refusals.note(
            kind_of(
                principal,
                "forbidden" if known else "other_tenant",
                tenant=tenant if known and named is not None else None,
                permission=permission.value,
                remote_address=address,
            )
        )
        if known:
            raise Forbidden(permission.value, tenant)
        raise NotFound("tenant", tenant)


def routes_of(app: FastAPI) -> dict[Callable[..., Any], Route]:
    """Every route of the application, by its endpoint.

    Raises `ValueError` for one that does not declare exactly once what it requires.
    """
    found: dict[Callable[..., Any], Route] = {}
    for context in iter_route_contexts(app.routes):
        if not isinstance(context.original_route, APIRoute):
            continue
        assert context.endpoint is not None
        assert context.path is not None
        needs = _dependencies(context.dependant)
        declared = {one.call for one in needs if isinstance(one.call, _Declared)}
        if len(declared) != 1:
            raise ValueError(
                f"{sorted(context.methods or ())} {context.path} must declare once what it "
                f"requires, and does so {len(declared)} times"
            )
        (declaration,) = declared
        query = {field.alias for one in needs for field in one.query_params}
        found[context.endpoint] = Route(
            context.path,
            frozenset(context.methods or ()),
            declaration.permission,
            frozenset(query),
            declaration.instead,
        )
    return found


def _dependencies(dependant: Dependant) -> list[Dependant]:
    below = [each for one in dependant.dependencies for each in _dependencies(one)]
    return [dependant, *below]
