"""Who may do what, and that no route is without an answer to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, FastAPI, Query

import adapters.http
from adapters.http.access import Permission, Principal, public, requires, routes_of
from adapters.http.rates import source_of
from domain.access import EVERY_TENANT, PERMISSIONS, Grant, Role, granted
from domain.tlog.names import tenant_of_subject


def application(router: APIRouter) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.include_router(router)
    return app


def test_a_route_that_declares_nothing_is_refused() -> None:
    router = APIRouter()

    @router.get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(ValueError, match="/forgotten must declare once what it requires"):
        routes_of(application(router))


def test_a_route_that_declares_two_things_is_refused() -> None:
    router = APIRouter()

    @router.get("/twice", dependencies=[public(), requires(Permission.READ)])
    async def twice() -> None: ...

    with pytest.raises(ValueError, match="2 times"):
        routes_of(application(router))


def test_what_routes_declare_and_take_is_known() -> None:
    router = APIRouter(prefix="/t/{tenant}")

    @router.get("/a", dependencies=[requires(Permission.AUDIT)])
    async def a(tenant: str, since: Annotated[str, Query(alias="from")] = "") -> None: ...

    @router.post("/b")
    async def b(tenant: str, who: Annotated[Principal, requires(Permission.KEYS)]) -> None: ...

    @router.get("/c", dependencies=[public()])
    async def c(tenant: str) -> None: ...

    found = {one.path: one for one in routes_of(application(router)).values()}
    assert {path: one.permission for path, one in found.items()} == {
        "/t/{tenant}/a": Permission.AUDIT,
        "/t/{tenant}/b": Permission.KEYS,
        "/t/{tenant}/c": None,
    }
    assert found["/t/{tenant}/a"].query == {"from"}


def test_nothing_is_allowed_that_is_not_granted() -> None:
    nobody = Principal(actor="user:nobody")
    assert not any(nobody.may(one, "acme") for one in Permission)
    assert not nobody.knows("acme")


@pytest.mark.parametrize("role", list(Role))
def test_a_role_is_for_its_tenant_only(role: Role) -> None:
    principal = Principal(actor="user:u", grants=(granted("acme", role),))
    for permission in Permission:
        assert principal.may(permission, "acme") == (permission in PERMISSIONS[role])
        assert not principal.may(permission, "other")
        assert not principal.may(permission, EVERY_TENANT)
    assert principal.knows("acme")
    assert not principal.knows("other")


def test_only_operators_and_admins_see_secrets_and_only_admins_make_keys() -> None:
    assert {one for one in Role if Permission.REVEAL in PERMISSIONS[one]} == {
        Role.OPERATOR,
        Role.ADMIN,
    }
    assert [one for one in Role if Permission.KEYS in PERMISSIONS[one]] == [Role.ADMIN]


def test_a_narrowed_role_grants_no_more_than_the_role() -> None:
    narrowed = granted("acme", Role.VIEWER, frozenset({Permission.READ, Permission.KEYS}))
    assert narrowed == Grant("acme", frozenset({Permission.READ}))


def test_a_grant_for_every_tenant_is_for_each() -> None:
    principal = Principal(actor="user:u", grants=(granted(EVERY_TENANT, Role.AUDITOR),))
    assert principal.may(Permission.AUDIT, "acme")
    assert principal.may(Permission.AUDIT, EVERY_TENANT)
    assert not principal.may(Permission.REVEAL, "acme")


def test_what_belongs_to_no_tenant_is_in_no_tenants_log() -> None:
    assert tenant_of_subject("configtrail._system.=20keys.AccessKeyCreated") is None
    assert tenant_of_subject("configtrail.acme.=20keys.AccessKeyCreated") == "acme"


def test_only_what_is_about_no_tenant_reads_as_the_one_who_sees_all() -> None:
    # Whether it is up, how far it is, what is parked, who cosigns: else a tenant's rows are read.
    allowed = {"freshness.py", "health.py", "lag.py", "parked.py", "proofs.py", "trigger.py"}
    folder = Path(adapters.http.__path__[0])
    using = {one.name for one in folder.glob("*.py") if "system.pool" in one.read_text()}
    assert using <= allowed


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("no:address", "no:other", False),
        (None, None, True),
    ],
)
def test_a_network_of_ipv6_is_one_source(
    one: str | None, other: str | None, together: bool
) -> None:
    """Whoever has one of its addresses has 2 to the 64 of them."""
    assert (source_of(one) == source_of(other)) == together
