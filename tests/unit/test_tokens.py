"""Tokens of an identity provider: what is accepted, what is not, and what nobody can know."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adapters.access.grants import grants_of, parse_rules
from adapters.access.jwks import KEPT_SECONDS, PAUSE_SECONDS, SigningKeys
from adapters.access.tokens import Tokens
from adapters.settings import Settings
from domain.access import EVERY_TENANT, Permission, Role, granted
from domain.errors import InvalidInput, Unauthenticated, Unavailable
from tests.identity import AUDIENCE, Provider
from tests.support import answering


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings_of(provider: Provider, **more: object) -> Settings:
    given = {
        "oidc_issuer": provider.issuer,
        "oidc_audience": AUDIENCE,
        "oidc_grants": "groups=netops acme operator, groups=audit * auditor",
    }
    return Settings.model_validate(given | more)


def tokens_of(provider: Provider, clock: Clock, **more: object) -> Tokens:
    return Tokens(settings_of(provider, **more), SigningKeys(provider.issuer, clock=clock))


async def test_a_good_token_names_its_owner_and_grants_what_the_rules_say(
    provider: Provider, clock: Clock
) -> None:
    principal = await tokens_of(provider, clock).principal(provider.token())
    assert principal.actor == "user:ann"
    assert principal.may(Permission.TRIGGER, "acme")
    assert not principal.knows("other")


async def test_what_a_token_is_used_to_make_ends_by_the_policy(
    provider: Provider, clock: Clock
) -> None:
    """A token itself is gone within the hour: whom it names can come with another one."""
    tokens = tokens_of(provider, clock, oidc_key_days=30)
    until = (await tokens.principal(provider.token())).keys_until
    assert until is not None
    assert abs(until - datetime.now(UTC) - timedelta(days=30)) < timedelta(hours=1)


async def test_every_bad_token_is_refused(provider: Provider, clock: Clock) -> None:
    tokens = tokens_of(provider, clock)
    for what, token in provider.bad_tokens().items():
        with pytest.raises(Unauthenticated) as refused:
            await tokens.principal(token)
        assert refused.value.reason == ("expired" if what == "expired" else "bad_credentials")
        assert refused.value.__cause__ is None
    with pytest.raises(Unauthenticated):
        await tokens.principal("x" * 20_000)


async def test_clocks_may_differ_by_the_leeway(provider: Provider, clock: Clock) -> None:
    ended = provider.token(provider.claims(exp=int(time.time()) - 20))
    assert (await tokens_of(provider, clock).principal(ended)).actor == "user:ann"
    with pytest.raises(Unauthenticated):
        await tokens_of(provider, clock, oidc_leeway_seconds=0).principal(ended)


async def test_until_when_a_token_is_good_is_known(provider: Provider, clock: Clock) -> None:
    """Also of one that is good for longer than there are dates."""
    tokens = tokens_of(provider, clock, oidc_leeway_seconds=30)
    soon = int(time.time()) + 60
    ends = datetime.fromtimestamp(soon + 30, UTC)
    last = datetime(9999, 12, 31, 0, 0, 30, tzinfo=UTC)
    for claimed, until in ((soon, ends), (10**15, last), (10**400, last)):
        token = provider.token(provider.claims(exp=claimed))
        assert (await tokens.principal(token)).until == until


async def test_a_new_key_is_fetched_and_unknown_ones_at_most_once_a_minute(
    provider: Provider, clock: Clock
) -> None:
    tokens = tokens_of(provider, clock)
    await tokens.principal(provider.token())
    old = provider.token()
    provider.rotate()
    new = provider.token()
    assert provider.asked == 1
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await tokens.principal(new)
    assert provider.asked == 1
    clock.now += PAUSE_SECONDS
    assert (await tokens.principal(new)).actor == "user:ann"
    assert provider.asked == 2
    with pytest.raises(Unauthenticated):
        await tokens.principal(old)  # its key is no more


async def test_while_the_keys_cant_be_had_the_answer_is_neither_yes_nor_no(
    provider: Provider, clock: Clock
) -> None:
    tokens = tokens_of(provider, clock)
    provider.reachable = False
    for token in (provider.token(), provider.token(kid="three")):
        with pytest.raises(Unavailable):
            await tokens.principal(token)
    provider.reachable = True
    clock.now += PAUSE_SECONDS
    await tokens.principal(provider.token())
    provider.reachable = False
    await tokens.principal(provider.token())  # known, for a while
    clock.now += KEPT_SECONDS
    with pytest.raises(Unavailable):
        await tokens.principal(provider.token())


async def test_keys_that_nobody_understands_are_passed_over(
    provider: Provider, clock: Clock
) -> None:
    provider.others = [
        {"kty": "AKP", "kid": "q", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": "EC", "kid": "b", "crv": "brainpoolP256r1", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "c", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "kid": "d", "n": "AA"},
        {"kid": "e"},
        "a text",
    ]
    assert (await tokens_of(provider, clock).principal(provider.token())).actor == "user:ann"


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_algorithms": "HS256"},
        {"oidc_algorithms": "none"},
        {"oidc_algorithms": ""},
        {"oidc_audience": None},
        {"oidc_grants": "groups=netops acme"},
        {"oidc_grants": "groups=netops acme root"},
        {"oidc_grants": "netops acme viewer"},
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(
    provider: Provider, clock: Clock, wrong: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput):
        tokens_of(provider, clock, **wrong)


def test_keys_come_by_a_safe_way_only() -> None:
    for url in ("http://idp.example", "file:///etc/passwd", "ftp://127.0.0.1", "idp.example"):
        with pytest.raises(InvalidInput):
            SigningKeys(url)


@pytest.mark.parametrize(
    "url", ["https://user:Dompfaff@idp.example", "https://[", "https://idp.example:Dompfaff"]
)
def test_an_address_that_holds_a_secret_or_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="must begin with https") as refused:
        SigningKeys(url)
    assert "Dompfaff" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000])
async def test_a_provider_that_speaks_no_http_can_not_be_asked(said: bytes) -> None:
    async with answering(said) as port:
        with pytest.raises(Unavailable):
            await SigningKeys(f"http://127.0.0.1:{port}").get("key")


def test_rules_look_into_objects_and_lists() -> None:
    rules = parse_rules(
        "realm.roles=ops acme operator, https://x.example/r=a * viewer, sub=bo b admin"
    )
    claims = {"realm": {"roles": ["ops"]}, "https://x.example/r": "a", "sub": "ann"}
    assert grants_of(claims, rules) == (
        granted("acme", Role.OPERATOR),
        granted(EVERY_TENANT, Role.VIEWER),
    )
    assert grants_of({"realm": "ops", "sub": ["ann"]}, rules) == ()
