"""What is passed over for speed has no secrets: what else a text has changes nothing."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.demo.export import wrapped
from domain.canonical.routeros import origins, with_origins
from domain.errors import NotUnderstood
from domain.profiles import PROFILES
from domain.profiles.finding import Line, loosened
from domain.redaction import Redactor, redacted
from domain.redaction import names as of_names
from domain.redaction.inside import redact_inside
from domain.redaction.names import hints, speaks
from domain.redaction.parts import parts
from domain.redaction.properties import _remembered, is_secret
from domain.redaction.trigger import loud, triggers
from domain.routeros.statements import is_understood, parse
from domain.routeros.strings import written
from tests.exports import form_of, genuine_texts, made_up
from tests.unit.test_redaction_tables import FOLDER, cases, texts

REDACTOR = Redactor(b"k" * 32, "r1")
# It has what secrets have, and keys over many lines, so that nothing behind it is passed over.
WAKES = "# zerotier -----BEGIN of envs\n"
_NAMES = """
password token x psk cak identity value mailPassw simPin apiKey url ping name key publicKey smtppsw
source
"""
NAMES = _NAMES.split()
_SPEAKING = """
apiKey simPin pin PIN1 mail_pw Passw0rd ddnspass makerkey preSharedKey contraseña puk mdp
authorization CPIN snmpCommunity smtp-psw wpa2-pre-shared-key key0 authCode seed cak tokens
APIkey FTPpass SIMpin PASSwd SSHkey pin-code pinCode simpin companypwd
"""
_NO_SECRETS = {"bypass", "compass", "surpass", "trespass"}
_TELLING_ABOUT = {one.upper() for one in of_names._ABOUT_FIRST}
VALUES = (
    '"geheim-77"',
    "geheim-77",
    "$other",
    "A8f3K2m9Q7",
    '"https://ada:geheim@host/x"',
    '"https://host/x?key=geheim&id=1"',
    '("a" . "b")',
    "[/system identity get name]",
    '{"a"; "b"}',
    "123456789:AAFabcdefghijklmnopqrstuvwxyz012345",
)
LINES = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(
            (":local ", ":set ", "/ppp secret set 0 ", "  ", "/user add ", "} else={ ")
        ),
        st.sampled_from(NAMES),
        st.sampled_from(("=", " ", ": ", "=\\\n ", "->", "")),
        st.sampled_from(VALUES),
    ),
    st.sampled_from(
        (
            ":foreach i in=[/interface find] do={",
            "}",
            "",
            ":put done; /snmp community",
            "/container envs",
            "set 0 value=geheim-77",
            "/ip address",
            ':if ($token = "x") do={',
            ":local password {",
            '"geheim-78";',
            "# a comment; it's \"odd",
            ":put [:len $name]; :put ($a + 1)",
            '"password":',
            '  "geheim-79"',
            "/tool fetch url=\\",
        )
    ),
)

# Strings that go on over lines.
OPEN = st.sampled_from(
    (':local password "geheim', ':put "a', 'b"', 'geheim-80"', ':put "a"; :put "b')
)


def inside(text: str, *, script: bool = True) -> str:
    return redact_inside(text, REDACTOR.meant, script=script)


@settings(max_examples=500, deadline=None)
@given(st.lists(LINES | OPEN, min_size=1, max_size=30), st.booleans(), st.booleans())
def test_a_script_has_the_same_secrets_alone_and_behind_others(
    lines: list[str], script: bool, with_menus: bool
) -> None:
    if not with_menus:  # lines for which nothing is ever passed over
        lines = [one for one in lines if not re.search(r"(?i)\bkey\b|community|envs", one)]
    text = "\n".join([*lines, ""])
    assert inside(WAKES + text, script=script) == WAKES + inside(text, script=script)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=6), st.integers(0, 24))
def test_a_script_has_the_same_secrets_before_others(lines: list[str], count: int) -> None:
    text = "\n".join([*lines, ""])
    assert inside(text + "\n" * count).rstrip("\n") == inside(text).rstrip("\n")
    closed = [line for line in lines if line.count('"') % 2 == 0]
    text = "\n".join(line for line in closed if not re.search(r"[({\[]\Z|\\\Z|:\Z", line))
    quiet = "\n:put done" * count
    assert inside(f"{text}{quiet}\n# zerotier") == f"{inside(text)}{quiet}\n# zerotier"


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=30))
def test_parts_begin_and_end_with_lines(lines: list[str]) -> None:
    text = "\n".join(lines)
    done = 0
    for start, end in parts(text):
        assert done <= start <= end <= len(text)
        assert start == 0 or text[start - 1] == "\n"
        done = end


@settings(max_examples=400)
@given(
    st.sampled_from(_SPEAKING.split()),
    st.text("abyzAZ09_-é", max_size=4),
    st.text("abyzAZ09_-é", max_size=4),
)
def test_a_name_that_speaks_of_a_secret_is_never_passed_over(
    name: str, before: str, after: str
) -> None:
    whole = before + name + after
    if speaks(whole) or hints(whole) or is_secret("", whole):
        assert triggers(f"{whole}=x"), whole
        assert triggers(f"{whole} x"), whole
        assert loud(["a", f"{whole} x", "b"]) == {1}


@settings(max_examples=400)
@given(
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=6),
    st.sampled_from(["pass", "pwd", "psw", "psk", "pw", "password", "token", "secret", "puk"]),
)
def test_capitals_before_a_secrets_name_change_nothing(before: str, secret: str) -> None:
    whole = before + secret
    assume(whole.lower() not in _NO_SECRETS and before not in _TELLING_ABOUT)
    assert speaks(whole), whole
    assert speaks(before + secret.capitalize()), whole


@settings(max_examples=200)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_escapes_that_routeros_does_not_write_hide_no_word(
    choice: random.Random, depth: int
) -> None:
    def odd(char: str) -> str:
        ways = [char] * 3
        if char.isalpha():
            ways.append(f"\\{ord(char):02X}")
        if char in "sdwo":
            ways.append(f"\\{char}")
        return choice.choice(ways)

    script = "".join(map(odd, ":local password ")) + '\\"geheimnis\\"'
    line = f'/system script add name=s source="{script}"'
    for _ in range(depth - 1):
        line = f"/system script add name=t source={written(line)}"
    assert "geheimnis" not in redacted(f"{line}\n", "routeros", REDACTOR)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(("a", "password", "a\nb", "a\nb\npassword", "\n", "pin\n", ""))))
def test_loud_lines_are_those_that_trigger(lines: list[str]) -> None:
    expected = {number for number, line in enumerate(lines) if triggers(f"{line}\n")}
    assert loud(lines) - {len(lines) - 1} == expected - {len(lines) - 1}


def test_no_case_of_the_tables_is_passed_over() -> None:
    for kind, case in cases("routeros"):
        text, _ = texts(kind, case)
        if "«" in case and "/snmp community" not in case:
            assert loud(text.split("\n")), case


def fragments(platform: str) -> list[str]:
    """Words of the table of a platform, with the blanks before them."""
    text = (FOLDER / f"{platform}.txt").read_text().replace("⏎", "\n")
    return sorted({one for one in re.findall(r"\s*[^\s«»]+|«|»", text) if one not in "«»"})


@pytest.mark.parametrize("platform", PROFILES)
def test_an_expression_matches_nowhere_where_its_loosened_form_does_not(platform: str) -> None:
    secrets = PROFILES[platform].secrets
    every = fragments(platform)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.sampled_from(every), min_size=1, max_size=9))
    def check(pieces: list[str]) -> None:
        line = Line("".join(pieces)).text  # words are kept apart by one blank there
        expected = line
        for pattern in secrets.expressions:
            expected = pattern.sub(
                lambda found: found[0].replace(found["secret"], "<secret>"), expected
            )
        # Which of several places that are equal is meant does not matter here.
        assert (secrets.hidden(line, lambda _: "<secret>") == line) == (expected == line)

    check()
    for kind, case in cases(platform):
        for line in texts(kind, case)[0].split("\n"):
            for pattern in secrets.expressions:
                loose = re.compile(loosened(pattern.pattern).replace(r"\z", r"\Z"), re.ASCII)
                assert pattern.search(line) is None or loose.search(line)


def test_looks_around_and_possession_are_taken_away() -> None:
    assert loosened(r"(?<![\w-])a(?! (?:b|c(?=d))\S)(?P<secret>x[+)]?)++(?:y)*+\Z") == (
        r"a(?P<secret>x[+)]?)+(?:y)*\z"
    )


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        *(("", each) for each in ("pin ", "key=", "secret 7 ", "hash a ", "key 7 aB3dE5gH ")),
        *(("", each) for each in ("curl -u ", "eyJ-")),
        ("authorization: x=", "  "),
        ("curl -u", "="),
    ],
)
def test_hostile_lines_are_shown_at_all(first: str, piece: str) -> None:
    # By the square of its length, each would take minutes.
    for platform in ("routeros", "ios"):
        line = f"# {first}{piece * (120_000 // len(piece))}."
        assert redacted(f"{line}\n", platform, REDACTOR)


def test_lines_that_are_read_in_bulk_stand_where_reading_them_one_by_one_says() -> None:
    folded = [
        "\n".join(piece for line in text.split("\n") for piece in wrapped(line, 60))
        for text in made_up()
    ]
    for text in [*made_up(), *folded, *genuine_texts().values()]:
        found = with_origins(text)
        assert [(first, after) for _, first, after in found] == origins(text)
        assert [line for line, _, _ in found] == list(form_of(text).logical)


@settings(max_examples=400)
@given(
    st.sampled_from(("add", "set", "remove", "set [ find name=a ]", "set !a", "set 0", "addx", "")),
    st.lists(
        st.sampled_from(
            (" a=b", ' a="b c"', " !a", " comment", ' a="b', " .b=c", " a=", '  a=b"c"', " [", " b")
        ),
        max_size=4,
    ),
)
def test_a_line_is_understood_if_it_is_parsed(verb: str, properties: list[str]) -> None:
    line = verb + "".join(properties)
    try:
        parse(line)
    except NotUnderstood:
        assert not is_understood(line)
    else:
        assert is_understood(line)


def test_names_as_long_as_lines_are_not_kept() -> None:
    before = [one.cache_info().currsize for one in (of_names._speaks, of_names._hints, _remembered)]
    for number in range(20):
        name = f"password{number}" + "x" * 1_000
        assert not speaks(name)
        assert not hints(name)
        assert not is_secret("/ip address", name)
        assert is_secret("/ip address", f"{name}-password")
    after = [one.cache_info().currsize for one in (of_names._speaks, of_names._hints, _remembered)]
    assert after == before
