"""Whatever a secret is made of, and wherever a line is wrapped, nothing of it is left."""

from __future__ import annotations

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain.canonical import canonicalise
from domain.redaction import Redactor, redacted
from domain.redaction.tokens import tokens
from domain.routeros.statements import parse, render
from domain.routeros.strings import written
from tests.exports import made_up

REDACTOR = Redactor(b"k" * 32, "r1")
_HASH = re.compile(r"<secret:[0-9a-f]{8}>")
# No template has these letters, so that a piece of a secret is never there by chance.
SECRETS = st.text("ÄßЖ漢QZJ0189\"$\\=?_{}[];:&<>, '#@", min_size=8, max_size=24).filter(
    lambda one: len(set(one)) > 3 and one.strip(" ,") == one and not re.fullmatch(r"[\s$.\w]+", one)
)
PLACES = (
    ("/ppp secret", "add name=u password={} service=l2tp"),
    ("/snmp community", "add addresses=::/0 name={}"),
    ("/snmp community", "set [ find name={} ] addresses=::/0"),
    ("/ppp secret", "set [ find where password={} ] name=u"),
    ("/container envs", "add key=K name=e value={}"),
)
SCRIPTS = (
    ":local password {}",
    ":set $password {}",
    ":set password ({})",
    ":global mailToken   {}; :put done",
    ":set (conf->pw)\r\n/user add name=u password=  {} group=full",
    "/snmp community set numbers={} addresses=::/0",
    "/snmp community set [find where name~{}] addresses=::/0",
    ':local x ("a" . "b"); :local psk ({} . $x)',
    "/tool e-mail send to=a password={} subject=b",
    ":if ($token = {}) do={{ :put ok }}",
)


def wrapped_at(line: str, width: int) -> list[str]:
    """The line cut at every so many characters, inside of escapes as well."""
    pieces = [line[at : at + width] for at in range(0, len(line), width)]
    if any(len(piece) - len(piece.rstrip("\\")) for piece in pieces[:-1]):
        return [line]  # such a cut can't be told from an escape
    return [f"{piece}\\" if n < len(pieces) - 1 else piece for n, piece in enumerate(pieces)]


def export(menu: str, line: str, width: int) -> str:
    first, *others = wrapped_at(line, width)
    return "\n".join([menu, first, *(f"    {one}" for one in others), ""])


def shown(text: str) -> str:
    return redacted(text, "routeros", REDACTOR)


def left(secret: str, text: str) -> list[str]:
    """Pieces of six characters of a secret that a text has, those of quotes and escapes alone
    left aside: scripts have them too."""
    pieces = (secret[at : at + 6] for at in range(len(secret) - 5))
    return [one for one in pieces if one in text and sum(each not in '\\"' for each in one) > 2]


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PLACES), SECRETS, st.integers(17, 90))
def test_a_property_or_selector_keeps_nothing(
    place: tuple[str, str], secret: str, width: int
) -> None:
    menu, line = place
    value = written(secret)
    text = export(menu, line.format(value), width)
    result = shown(text)
    for form in (secret, value):
        assert not left(form, result)
    assert _HASH.findall(result) == [REDACTOR.secret(value)]
    for logical in canonicalise(result, "routeros").logical[1:]:
        assert render(parse(logical)) == logical
    assert shown(result) == result


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(SCRIPTS), SECRETS, st.integers(1, 3), st.integers(17, 90))
def test_a_script_keeps_nothing_at_any_depth(
    script: str, secret: str, depth: int, width: int
) -> None:
    value = written(secret)
    # Within brackets an expression is read, in which a bare word with a colon is no text.
    assume(value[0] == '"' or "(" not in script)
    body = script.format(value)
    for _ in range(depth - 1):
        body = f"/system script add name=t source={written(body)}"
    text = export("/system script", f"add name=s source={written(body)} policy=read", width)
    result = shown(text)
    form = secret
    for _ in range(depth + 1):
        assert not left(form, result)
        form = written(form)
    assert set(_HASH.findall(result)) == {REDACTOR.meant(secret)}
    for logical in canonicalise(result, "routeros").logical[1:]:
        assert render(parse(logical)) == logical
    assert shown(result) == result


@settings(max_examples=200, deadline=None)
@given(SECRETS, SECRETS)
def test_equal_secrets_have_equal_hashes_and_others_have_not(one: str, other: str) -> None:
    first, second = (
        _HASH.findall(shown(f"/ppp secret\nadd name=u password={written(secret)}\n"))
        for secret in (one, other)
    )
    assert (first == second) == (one == other)


def test_without_secrets_nothing_changes() -> None:
    for text in made_up():
        lines = [
            line
            for line in text.split("\n")
            if not re.search(r"(?i)pass|secret|key|token|community", line) or line[:1] == "/"
        ]
        plain = "\n".join(lines)
        assert shown(plain) == plain


def test_a_long_run_of_backslashes_is_one_token() -> None:
    run = "\\" * 50_000 + '"'
    assert [one.text for one in tokens(run, 0, len(run))] == [run]
