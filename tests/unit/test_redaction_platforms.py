"""Secrets at places that vendors document, amid other lines: none is left, nothing else goes."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.canonical import canonicalise
from domain.profiles import PROFILES
from domain.redaction import Redactor, redacted
from domain.semantic.lines import tell_lines
from tests.secret_places import NEUTRAL, PLACES

REDACTOR = Redactor(b"k" * 32, "r1")
_HASH = re.compile(r"<secret:[0-9a-f]{8}>")
# No template has such letters, so that a piece of a secret is never there by chance; those without
# digits look like words, and are found by where they stand alone.
SECRETS = st.one_of(st.text("QZJXWV", min_size=8), st.text("QZJXWV0189-", min_size=8)).filter(
    lambda one: len(set(one)) > 3 and one.strip("-") == one and len(one) < 24
)
PLATFORMS = st.sampled_from(sorted(PLACES))


def lines_of(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


@settings(max_examples=250, deadline=None)
@given(PLATFORMS, st.data(), st.sampled_from(("\n", "\r\n")))
def test_amid_other_lines_a_secret_alone_is_hidden(
    platform: str, data: st.DataObject, end: str
) -> None:
    places = data.draw(st.lists(st.sampled_from(lines_of(PLACES[platform])), max_size=6))
    others = data.draw(st.lists(st.sampled_from(lines_of(NEUTRAL[platform])), max_size=6))
    order = data.draw(st.permutations([*places, *others]))
    secrets = data.draw(st.lists(SECRETS, min_size=len(order), max_size=len(order)))
    given_lines = [line.replace("{}", one) for line, one in zip(order, secrets, strict=True)]
    text = end.join([*given_lines, ""])
    result = redacted(text, platform, REDACTOR)
    for line, one, after in zip(order, secrets, result.split(end), strict=False):
        assert one not in after, line
        kept = line.replace("{}", REDACTOR.secret(one))
        # A hash needs no quotes, and may have those of the secret.
        assert _bare(after) == _bare(kept), line
    assert result.count(end) == text.count(end)
    assert redacted(result, platform, REDACTOR) == result


def _bare(line: str) -> str:
    return re.sub(r"""(["'])(<secret:[0-9a-f]{8}>)\1""", r"\2", line)


@settings(max_examples=120, deadline=None)
@given(PLATFORMS, st.data(), SECRETS, SECRETS)
def test_equal_secrets_have_equal_hashes_at_all_places_and_others_have_not(
    platform: str, data: st.DataObject, one: str, other: str
) -> None:
    first, second = data.draw(
        st.tuples(*[st.sampled_from(lines_of(PLACES[platform]))] * 2), label="places"
    )
    hashes = [
        _HASH.findall(redacted(line.replace("{}", secret), platform, REDACTOR))
        for line, secret in ((first, one), (second, one), (second, other))
    ]
    assert REDACTOR.secret(one) in hashes[0]
    assert REDACTOR.secret(one) in hashes[1]
    assert (REDACTOR.secret(one) in hashes[2]) == (one == other)


def test_every_place_hides_and_every_other_line_stays() -> None:
    for (platform, places), one in product(PLACES.items(), ("QZ01XJ98WV", "QZXJVWQZ")):
        for line in lines_of(places):
            shown = redacted(line.replace("{}", one), platform, REDACTOR)
            assert _bare(shown) == _bare(line.replace("{}", REDACTOR.secret(one)))
        for line in lines_of(NEUTRAL[platform]):
            assert redacted(line, platform, REDACTOR) == line


def test_words_may_stand_apart_by_any_blanks() -> None:
    secret = "QZ01XJ98WV"
    for platform, places in PLACES.items():
        for line, blanks in product(lines_of(places), ("  ", "\t", " \t ")):
            indent = line[: len(line) - len(line.lstrip())]
            apart = indent + line[len(indent) :].replace(" ", blanks) + blanks
            shown = redacted(apart.replace("{}", secret), platform, REDACTOR)
            assert _bare(shown) == _bare(apart.replace("{}", REDACTOR.secret(secret))), line


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(lines_of(PLACES["vyos"])),
    st.lists(st.sampled_from(("'", '"', " ", "QZXJ", "authorization", "x")), min_size=1),
)
def test_a_quote_in_a_value_of_vyos_ends_no_secret(place: str, pieces: list[str]) -> None:
    before, _, behind = place.replace(" {} ", " '{}' ").partition("{}")
    shown = redacted(f"{before}{''.join(pieces)}QZXJ{behind}\n", "vyos", REDACTOR)
    assert _HASH.sub("", shown) == before.removesuffix("'") + behind.removeprefix("'") + "\n"


_LONG = {
    "openwrt": ("\toption password 'first\nQZXJ WV\nlast'\n", "\toption ssid 'a\nb'\n"),
    "junos": ('    encrypted-password "first\nQZXJ WV\nlast"; /* x */\n', '    message "a\nb";\n'),
    "vyos": (
        "set system login user u authentication plaintext-password 'first\nQZXJ WV\nlast'\n",
        "set system login banner pre-login 'a\nb'\n",
    ),
    "fortios": ('        set passwd "first\nQZXJ WV\nlast"\n', '        set buffer "a\nb"\n'),
}


def test_of_a_secret_over_several_lines_none_is_left() -> None:
    for platform, (secret, other) in _LONG.items():
        text = other + secret + other
        shown = redacted(text, platform, REDACTOR)
        assert shown.startswith(other)
        assert shown.endswith(other)
        assert all(one not in shown for one in ("QZXJ", "WV", "first", "last")), shown
        assert shown.count("\n") == text.count("\n")
        assert redacted(shown, platform, REDACTOR) == shown
        changed = redacted(text.replace("WV", "VW"), platform, REDACTOR)
        lines = zip(shown.split("\n"), changed.split("\n"), strict=True)
        assert sum(one != two for one, two in lines) == 2, "the whole, and the line"


def test_a_secret_over_several_lines_is_in_no_told_change() -> None:
    for platform, (secret, _) in _LONG.items():
        before, after = (canonicalise(one, platform) for one in ("", secret))
        told = tell_lines(before, after, PROFILES[platform], REDACTOR)
        assert told.changes
        assert all(one not in repr(told) for one in ("QZXJ", "WV", "last")), told


def test_what_goes_on_behind_a_secret_for_very_long_is_hidden_too() -> None:
    for platform, (secret, other) in _LONG.items():
        text = other + secret.replace("QZXJ WV", "QZXJ WV\n" * 5000)
        shown = redacted(text, platform, REDACTOR)
        assert shown.startswith(other)
        assert all(one not in shown for one in ("QZXJ", "WV", "first", "last")), platform


def test_keys_of_other_kinds_than_pem_are_hidden() -> None:
    for label in ("OpenVPN Static key V1", "PGP PRIVATE KEY BLOCK", "RSA PRIVATE KEY"):
        text = f"\toption x '-----BEGIN {label}-----\nQZ01XJ98WV\n-----END {label}-----'\n"
        shown = redacted(text, "openwrt", REDACTOR)
        assert "QZ01XJ98WV" not in shown
        assert shown == text.replace("QZ01XJ98WV", REDACTOR.secret("QZ01XJ98WV"))
