"""Secrets become keyed hashes, wherever they stand; everything else stays as it is."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.demo.export import wrapped
from domain.errors import NotRedactable
from domain.redaction import Redactor, redacted
from domain.routeros.strings import written
from tests.exports import form_of, genuine_texts, made_up

REDACTOR = Redactor(b"k" * 32, "r1")
CANARY = "Kanarienvogel-7f3e"
# Properties by menu, as MikroTik's documentation names them: not taken from the code.
PROPERTIES = (
    ("/ppp secret", "add name=u {}", "password"),
    ("/interface l2tp-server server", "set enabled=yes {}", "ipsec-secret"),
    ("/radius", "add address=192.0.2.1 {} service=ppp", "secret"),
    ("/interface wireguard", "add name=wg {}", "private-key"),
    ("/interface wireguard peers", "add interface=wg {} name=p", "preshared-key"),
    ("/ip ipsec identity", "add peer=p {}", "secret"),
    ("/interface wireless security-profiles", "add name=p {}", "wpa-pre-shared-key"),
    ("/interface wireless security-profiles", "add name=p {}", "wpa2-pre-shared-key"),
    ("/interface wireless security-profiles", "add name=p {}", "static-key-0"),
    ("/interface wireless security-profiles", "add name=p {}", "mschapv2-password"),
    ("/interface wireless access-list", "add interface=w {}", "private-pre-shared-key"),
    ("/interface wifi security", "add name=s {}", "passphrase"),
    ("/interface wifi", "set [ find default-name=wifi1 ] {} ", "security.passphrase"),
    ("/interface wifi", "set w security.ft=yes {}", ".passphrase"),
    ("/caps-man access-list", "add {}", "private-passphrase"),
    ("/routing ospf interface-template", "add area=a {}", "auth-key"),
    ("/routing ospf interface", "add interface=e {}", "authentication-key"),
    ("/routing bgp peer", "add name=p {}", "tcp-md5-key"),
    ("/routing rip keys", "add chain=c {}", "key"),
    ("/snmp community", "set [ find default=yes ] {}", "name"),
    ("/snmp community", "add addresses=::/0 {}", "name"),
    ("/snmp community", "set 0 {}", "authentication-password"),
    ("/snmp community", "set 0 {}", "encryption-password"),
    ("/snmp", "set {}", "trap-community"),
    ("/tool e-mail", "set address=192.0.2.1 {}", "password"),
    ("/interface pppoe-client", "add interface=e1 {} user=u", "password"),
    ("/zerotier", "set zt1 {}", "identity"),
    ("/iot mqtt brokers", "add name=m {}", "password"),
    ("/container envs", "add key=TOKEN name=e {}", "value"),
    ("/ip smb users", "add name=u {}", "password"),
    ("/tool netwatch", "add host=h {}", "http-password"),
)
INSIDE = (
    '/tool fetch url="ftp://u:{}@192.0.2.1/x"',
    '/tool fetch url="https://example.net/api?key={}&id=7"',
    '/tool fetch url="https://example.net/api?id=7&token={}"',
    "/tool fetch url=https://example.net/hook?auth={}",
    '/tool fetch http-header-field="Authorization: Bearer {}"',
    '/tool fetch http-header-field="X-Api-Key: {}"',
    '/tool fetch http-data="{{\\"password\\":\\"{}\\"}}"',
    ':local mailPassword "{}"',
    ":global botToken {}",
    ':set apiKey "{}"',
    "/ppp secret add name=x password={} service=l2tp",
    '/tool e-mail send password="{}" user=x',
    "/user set 0 password={}",
    "/ip ipsec identity set 0 secret={};:put done",
)
# What real exports have, as read by hand: the folder of each in the corpus, and its secrets.
REAL = {
    "netutils-ag1": ("name=somestringa", "trap-community=somestring"),
    "dennyhalim-vpn951g": (
        "wpa-pre-shared-key=dennyhalim.com",
        "wpa2-pre-shared-key=dennyhalim.com",
        "ipsec-secret=dennyhalim.com",
        "password=dennyhalim.com",
    ),
    "dennyhalim-quickset": (
        "wpa-pre-shared-key=DennyHalim",
        "wpa2-pre-shared-key=DennyHalim",
        "wpa-pre-shared-key=dennyhalim.com",
        "wpa2-pre-shared-key=dennyhalim.com",
        "ipsec-secret=DennyHalim",
        "password=DennyHalim",
    ),
    "lab-molchanovanika-router1": ("auth-key=12345",),
    "lab-molchanovanika-router2": ("auth-key=12345",),
    "lab-inlived-router1": ("auth-key=12345",),
    "lab-inlived-router2": ("auth-key=12345",),
    "lab-fiji6479-chr1": ("auth-key=admin",),
    "lab-fiji6479-chr2": ("auth-key=admin",),
    "tikoci-t153357-p0001-02": ('identity="xxx"',),
}
SECRETS = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=8, max_size=24
).filter(lambda one: not re.fullmatch(r"\*+|<.*>", one))


def shown(text: str) -> str:
    return redacted(text, "routeros", REDACTOR)


@settings(max_examples=400)
@given(st.sampled_from(PROPERTIES), SECRETS, st.integers(40, 120))
def test_a_secret_property_is_hidden_however_it_is_wrapped(
    place: tuple[str, str, str], secret: str, width: int
) -> None:
    menu, line, name = place
    value = written(secret)
    logical = line.format(f"{name}={value}")
    physical = "\r\n".join([menu, *wrapped(logical, width), ""])
    result = shown(physical)
    assert result == f"{menu}\r\n{line.format(f'{name}={REDACTOR.secret(value)}').rstrip()}\r\n"


@settings(max_examples=400)
@given(st.sampled_from(INSIDE), st.text("abcXYZ0189-_", min_size=12, max_size=20), st.booleans())
def test_a_secret_inside_of_a_script_is_hidden(script: str, secret: str, scheduler: bool) -> None:
    body = f":log info start\r\n{script}\r\n:log info end"
    name = "on-event" if scheduler else "source"
    lines = [f"add name=s {name}={written(body.format(secret))} policy=read"]
    result = shown("\n".join(["/system script", *lines, ""]))
    assert secret not in result
    expected = "\n".join(
        ["/system script", f"add name=s {name}={written(body.format('S'))} policy=read", ""]
    )
    assert re.sub(r"<secret:[0-9a-f]{8}>", "S", result) == expected


@pytest.mark.parametrize(
    "text",
    [
        '/ip firewall filter\nadd comment="the password is known to the team" passthrough=yes\n',
        "/ip ssh\nset always-allow-password-login=yes password-authentication=yes\n",
        '/interface wireguard peers\nadd public-key="4u2MfEvs/CemLqNkfLS8mkunlWLrlcUfk="\n',
        '/tool fetch\nset url="https://example.net/path?id=7"\n',
        "/ip ipsec identity\nadd peer=p secret=*****\n",
        '/ppp secret\nadd name=u password=""\n',
        '/system script\nadd name=s source=":local password \\$input;:put basic"\n',
        "/interface l2tp-server server\nset use-ipsec=required\n",
        "# password rules: none\n/ip pool\nadd name=tokens ranges=1\n",
        "/interface wireless\nset w passphrase=none\n",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert shown(text) == text


def test_made_up_exports_lose_their_secrets_and_nothing_else() -> None:
    for text in made_up():
        result = shown(text)
        assert not re.search(r"demo[- ](?:password|passphrase|ospf|ipsec|community)", result)
        for before, after in zip(text.split("\n"), result.split("\n"), strict=True):
            if before != after:
                pattern = re.escape(after).replace(r"<secret:", "<secret:")
                pattern = re.sub(r"<secret:[0-9a-f]{8}>", '(?:"[^"]*"|[^ "]+)', pattern)
                assert re.fullmatch(pattern, before), after


def test_real_exports_lose_the_secrets_that_a_reader_found_and_nothing_else() -> None:
    hashes = 0
    for name, text in genuine_texts().items():
        result = shown(text)
        expected = list(form_of(text).logical)
        for one in REAL.get(name.split("/")[0], ()):
            written_as, _, value = one.partition("=")
            hidden = f" {written_as}={REDACTOR.secret(value)}"
            pattern = rf" {re.escape(one)}(?= |\Z)"
            expected = [re.sub(pattern, hidden, line) for line in expected]
        assert list(form_of(result).logical) == expected, name
        assert shown(result) == result
        hashes += result.count("<secret:")
    assert hashes == 27


def test_a_line_that_is_not_understood_is_hidden_as_a_whole() -> None:
    text = f"/ppp secret\nadd name=u pass word {CANARY}\nadd name=v\n"
    assert shown(text) == (
        f"/ppp secret\n{REDACTOR.hidden(f'add name=u pass word {CANARY}')}\nadd name=v\n"
    )
    assert CANARY not in shown(f'/ppp secret\nadd name=u password="{CANARY}')
    assert CANARY not in shown(f"/ppp secret\nadd name=u password={CANARY}\\")
    assert CANARY not in shown(f"{CANARY}\n")


def test_text_of_which_nobody_knows_the_secrets_is_not_shown() -> None:
    with pytest.raises(NotRedactable):
        redacted("anything", "text", REDACTOR)


def test_the_token_in_the_address_of_a_bot_is_hidden() -> None:
    address = f"https://api.telegram.org/bot123456:{CANARY}/sendMessage"
    assert CANARY not in shown(f"/system script\nadd source={written(address)}\n")


def test_a_changed_secret_shows_and_equal_ones_look_equal() -> None:
    assert REDACTOR.secret("one") == REDACTOR.secret('"one"')
    assert REDACTOR.secret("one") != REDACTOR.secret("two")
    assert REDACTOR.secret("one") != Redactor(b"k" * 32, "r2").secret("one")
    assert REDACTOR.secret("one") != Redactor(b"x" * 32, "r1").secret("one")


def test_an_open_quote_hides_what_follows_it() -> None:
    script = written(f':local password "{CANARY} and on')
    assert CANARY not in shown(f"/system script\nadd source={script}\n")


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_redacting_twice_is_redacting_once(choice: random.Random) -> None:
    text = choice.choice(made_up())
    script = written(choice.choice(INSIDE).format(CANARY))
    once = shown(f"{text}/system script\nadd name=s source={script}\n")
    assert CANARY not in once
    assert shown(once) == once
