"""What each route requires: declared where the route is, enforced in one place, denied by default.

A route declares `dependencies=[requires(Permission.READ)]`, or takes the principal itself:
`principal: Annotated[Principal, requires(Permission.TRIGGER)]`; or it is `public()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from msgspec import Struct

from domain.access import EVERY_TENANT, Permission, Principal, Role, granted

__all__ = ["Permission", "Principal", "Route", "public", "requires", "routes_of"]

NOBODY = Principal(actor="user:anonymous", grants=(granted(EVERY_TENANT, Role.ADMIN),))


class _Declared:
    """A route's declaration, as a dependency that gives the principal. None: it is public."""

    def __init__(self, permission: Permission | None) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        return NOBODY


class Route(Struct, frozen=True):
    """A route as the policy sees it. `query` are the names of all parameters that it takes."""

    path: str
    methods: frozenset[str]
    permission: Permission | None
    query: frozenset[str]


def requires(permission: Permission) -> Any:
    """The route is for those who have the permission, for the tenant in its address; without one
    there, for those who have it for every tenant."""
    return Depends(_Declared(permission))


def public() -> Any:
    """The route is for everybody: it tells nothing of any tenant."""
    return Depends(_Declared(None))


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
        needs = list(_dependencies(context.dependant))
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
        )
    return found


def _dependencies(dependant: Dependant) -> list[Dependant]:
    below = [each for one in dependant.dependencies for each in _dependencies(one)]
    return [dependant, *below]
