"""Reading RouterOS over SSH: whole or not at all, and never a password to a stranger."""

from __future__ import annotations

import asyncio
import base64
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh import SSHKey
from asyncssh.asn1 import der_decode, der_encode

from adapters.ssh.connecting import Seen, logged_in
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.reading import Reading, read_device
from adapters.ssh.target import Credential, HostKey, Limits, Target, Trust
from tests.doubles import jump
from tests.doubles.routeros import RouterOSDouble, export_text, serving, silent_host
from tests.support import eventually

PASSWORD = "correct horse"


def target(port: int, **given: object) -> Target:
    settings: dict[str, object] = {
        "name": "r1",
        "addresses": ("127.0.0.1",),
        "port": port,
        "credential": Credential(username="backup", password=PASSWORD),
        "limits": Limits(connect=5, silence=1, total=20),
    }
    return Target(**{**settings, **given})  # type: ignore[arg-type]


async def read(wanted: Target, seen: Seen | None = None, **given: Any) -> Reading:
    return await read_device(wanted, "routeros", seen or Seen(), **given)


def host_key(double: RouterOSDouble, key: SSHKey | None = None) -> HostKey:
    key = key or double.host_key
    return HostKey(algorithm=key.get_algorithm(), blob=base64.b64encode(key.public_data).decode())


@pytest.mark.parametrize(
    ("version", "secret_values", "command"),
    [
        ("6.49.10 (long-term)", True, "/export"),
        ("6.49.10 (long-term)", False, "/export hide-sensitive"),
        ("7.14.3 (stable)", True, "/export show-sensitive"),
        ("7.20 (stable)", False, "/export"),
    ],
)
async def test_the_command_fits_the_version(
    version: str, secret_values: bool, command: str
) -> None:
    async with serving(RouterOSDouble(version=version)) as double:
        found = await read(target(double.port), secret_values=secret_values)
    assert found.text == double.export
    assert found.os_version == version.split()[0]
    assert [one.partition(";")[0] for one in double.commands][1] == command


@pytest.mark.parametrize(
    ("known", "now", "commands"),
    [
        ("7.13", "7.14.3", ["/export show-sensitive"]),
        ("6.49.10", "6.49.18", ["/export"]),
        ("6.49.10", "7.14.3", ["/export", ":put", "/export show-sensitive"]),
        ("7.14.3", "6.49.10", ["/export show-sensitive", ":put", "/export"]),
        ("nonsense", "7.14.3", [":put", "/export show-sensitive"]),
    ],
)
async def test_a_known_version_saves_a_question_and_a_wrong_one_is_found_out(
    known: str, now: str, commands: list[str]
) -> None:
    async with serving(RouterOSDouble(version=now)) as double:
        found = await read(target(double.port), os_version=known)
    assert (found.text, found.os_version) == (double.export, now)
    asked = [one.partition(";")[0].partition(" [")[0] for one in double.commands]
    assert asked == commands


async def test_five_megabytes_come_whole() -> None:
    text = export_text("7.14.3", size=5_000_000)
    async with serving(RouterOSDouble(text=text)) as double:
        assert (await read(target(double.port))).text == text


async def test_text_that_is_not_utf_8_is_kept_byte_for_byte() -> None:
    text = export_text("7.14.3", name="Zürich")

    class Latin(str):
        __slots__ = ()

        def encode(self, encoding: str = "latin-1", errors: str = "strict") -> bytes:
            return super().encode("latin-1")

    async with serving(RouterOSDouble(text=Latin(text))) as double:
        assert (await read(target(double.port))).text == text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("truncated", "incomplete"),
        ("hang_middle", "timeout"),
        ("reset", "connection_lost"),
        ("no_permission", "command_refused"),
        ("garbage", "command_refused"),
    ],
)
async def test_what_did_not_come_whole_is_a_failure(fault: str, kind: str) -> None:
    text = export_text("7.14.3", size=300_000)
    async with serving(RouterOSDouble(text=text, fault=fault)) as double:  # type: ignore[arg-type]
        with pytest.raises(DeviceUnread) as failed:
            await read(target(double.port))
    assert failed.value.kind == kind
    assert "address-list" not in failed.value.reason
    assert failed.value.reason.isprintable()


async def test_a_slow_drip_ends_with_the_time_for_everything() -> None:
    async with serving(RouterOSDouble(fault="drip", text="x" * 10_000)) as double:
        with pytest.raises(DeviceUnread, match="not done within 1 s") as failed:
            await read(target(double.port, limits=Limits(connect=5, silence=5, total=1)))
    assert failed.value.kind == "timeout"


async def test_a_section_that_could_not_be_exported_is_not_a_failure() -> None:
    async with serving(RouterOSDouble(fault="error_exporting")) as double:
        found = await read(target(double.port))
    assert '#error exporting "/ip/dns" (timeout)' in found.text


async def test_a_host_that_hangs_before_its_banner_times_out() -> None:
    async with silent_host() as port:
        with pytest.raises(DeviceUnread) as failed:
            await read(target(port, limits=Limits(connect=0.3)))
    assert failed.value.kind == "timeout"


async def test_the_time_of_a_reading_bounds_its_login_too_and_leaves_some_to_each_address() -> None:
    limits = Limits(connect=3600, total=3)
    async with silent_host() as port:
        with pytest.raises(DeviceUnread, match="within 3 s") as failed:
            await read(target(port, limits=limits))
        assert failed.value.kind == "timeout"
        async with serving(RouterOSDouble(listen="127.0.0.2", port=port)):
            both = ("127.0.0.1", "127.0.0.2")
            found = await read(target(port, addresses=both, limits=limits))
    assert found.address == "127.0.0.2"


async def test_a_wrong_password_is_told_apart() -> None:
    async with serving(RouterOSDouble(password="another")) as double:
        with pytest.raises(DeviceUnread) as failed:
            await read(target(double.port))
    assert failed.value.kind == "auth_failed"
    assert PASSWORD not in repr(failed.value)


async def test_nobody_listening_is_unreachable_and_a_wrong_name_unresolvable() -> None:
    async with serving(RouterOSDouble()) as double:
        port = double.port
    with pytest.raises(DeviceUnread) as failed:
        await read(target(port))
    assert failed.value.kind == "unreachable"
    with pytest.raises(DeviceUnread) as failed:
        await read(target(port, addresses=("no-such-host.invalid",)))
    assert failed.value.kind == "unresolvable"


@pytest.mark.parametrize("address", ["r1..example.net", "x" * 70])
async def test_what_can_be_no_host_name_is_unresolvable_and_the_next_one_tried(
    address: str,
) -> None:
    async with serving(RouterOSDouble()) as double:
        with pytest.raises(DeviceUnread) as failed:
            await read(target(double.port, addresses=(address,)))
        found = await read(target(double.port, addresses=(address, "127.0.0.1")))
    assert failed.value.kind == "unresolvable"
    assert found.address == "127.0.0.1"


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        (Credential(username="b\U0001f600", password=PASSWORD), "user name"),
        (Credential(username="backup", password=PASSWORD + "\udce9"), "password"),
        (Credential(username="backup", password=PASSWORD, enable="\udce9"), "password"),
    ],
)
async def test_a_login_that_can_not_be_sent_waits_for_a_person(
    credential: Credential, says: str
) -> None:
    async with serving(RouterOSDouble()) as double:
        with pytest.raises(DeviceUnread) as failed:
            await read(target(double.port, credential=credential))
    assert failed.value.kind == "no_credential"
    assert says in failed.value.reason
    assert PASSWORD not in repr(failed.value)
    assert double.passwords == []


async def test_a_user_name_that_is_too_long_for_the_device_waits_for_a_person() -> None:
    async with serving(RouterOSDouble()) as double:
        credential = Credential(username="x" * 2000, password=PASSWORD)
        with pytest.raises(DeviceUnread) as failed:
            await read(target(double.port, credential=credential))
    assert failed.value.kind == "auth_failed"


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with serving(RouterOSDouble()) as double:
        found = await read(target(double.port, addresses=("127.0.0.9", "127.0.0.1")))
    assert found.address == "127.0.0.1"


async def test_a_pinned_key_is_accepted_and_a_first_contact_shows_it() -> None:
    async with serving(RouterOSDouble()) as double:
        seen = Seen()
        await read(target(double.port), seen)
        assert seen.keys == {"r1": host_key(double)}
        await read(target(double.port, trust=Trust(pinned=host_key(double))))


async def test_an_unexpected_host_key_gets_no_login_at_all() -> None:
    other = RouterOSDouble()
    async with serving(RouterOSDouble()) as double:
        seen = Seen()
        with pytest.raises(DeviceUnread, match="another host key") as failed:
            await read(target(double.port, trust=Trust(pinned=host_key(other))), seen)
        assert failed.value.kind == "host_key_changed"
        assert host_key(double).fingerprint in failed.value.reason
        assert (double.logins, double.passwords) == ([], [])
        assert seen.keys["r1"] == host_key(double)
        with pytest.raises(DeviceUnread) as failed:
            await read(target(double.port, trust=Trust(expected=host_key(other).fingerprint)))
        assert failed.value.kind == "host_key_changed"
        await read(target(double.port, trust=Trust(expected=host_key(double).fingerprint)))


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp384"])
async def test_an_expected_key_is_found_of_whatever_kind_it_is(kind: str) -> None:
    other = asyncssh.generate_private_key(kind)
    async with serving(RouterOSDouble(more_host_keys=[other])) as double:
        seen, expected = Seen(), host_key(double, other)
        await read(target(double.port, trust=Trust(expected=expected.fingerprint)), seen)
        assert seen.keys == {"r1": expected}


async def test_who_has_the_expected_key_in_no_kind_is_told_by_the_key_that_is_shown_first() -> None:
    wanted = RouterOSDouble(host_key=asyncssh.generate_private_key("ssh-rsa"))
    others = [asyncssh.generate_private_key(one) for one in ("ssh-rsa", "ecdsa-sha2-nistp256")]
    async with serving(RouterOSDouble(more_host_keys=others)) as double:
        seen = Seen()
        with pytest.raises(DeviceUnread, match="another host key") as failed:
            await read(
                target(double.port, trust=Trust(expected=host_key(wanted).fingerprint)), seen
            )
        assert failed.value.kind == "host_key_changed"
        assert seen.keys == {"r1": host_key(double)}
        assert (double.logins, double.passwords) == ([], [])


async def test_a_key_is_offered_before_a_password() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    credential = Credential(
        username="backup", password=PASSWORD, private_key=key.export_private_key().decode()
    )
    async with serving(RouterOSDouble(authorized_key=key)) as double:
        await read(target(double.port, credential=credential))
    assert double.passwords == []


async def test_a_key_that_cannot_be_read_is_told_without_quoting_it() -> None:
    credential = Credential(username="backup", private_key="-----BEGIN nonsense s3cret")
    async with serving(RouterOSDouble()) as double:
        with pytest.raises(DeviceUnread) as failed:
            await read(target(double.port, credential=credential))
    assert failed.value.kind == "no_credential"
    assert "s3cret" not in f"{failed.value!r} {failed.value.__cause__!r}"


def _made_key(folder: Path, passphrase: str) -> str:
    path = folder / "key"
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(made, check=True)
    return path.read_text()


async def test_a_key_with_a_passphrase_is_read_once_and_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = await asyncio.to_thread(_made_key, tmp_path, "pass phrase")
    key = asyncssh.import_private_key(text, "pass phrase")
    real, where = asyncssh.import_private_key, list[threading.Thread]()

    def noted(*given: Any) -> asyncssh.SSHKey:
        where.append(threading.current_thread())
        return real(*given)

    monkeypatch.setattr(asyncssh, "import_private_key", noted)
    credential = Credential(username="backup", private_key=text, passphrase="pass phrase")
    async with serving(RouterOSDouble(authorized_key=key)) as double:
        wanted = target(double.port, credential=credential)
        await asyncio.gather(*(read(wanted) for _ in range(4)))
    assert len(where) == 1
    assert where[0] is not threading.current_thread()


@pytest.mark.parametrize("passphrase", [None, "", "wrong s3cret", "\ud800"])
async def test_a_key_without_its_passphrase_is_told_without_quoting_either(
    tmp_path: Path, passphrase: str | None
) -> None:
    text = await asyncio.to_thread(_made_key, tmp_path, "pass phrase")
    credential = Credential(username="backup", private_key=text, passphrase=passphrase)
    async with serving(RouterOSDouble()) as double:
        with pytest.raises(DeviceUnread, match="see to it and its passphrase") as failed:
            await read(target(double.port, credential=credential))
    assert failed.value.kind == "no_credential"
    assert "s3cret" not in f"{failed.value!r} {failed.value.__cause__!r}"


def _with_rounds_of_openssh(folder: Path) -> str:
    lines = _made_key(folder, "pass phrase").splitlines()
    raw = bytearray(base64.b64decode("".join(lines[1:-1])))
    # The name of the function, its options of 24 bytes, of which the salt takes 20.
    at = raw.index(b"bcrypt") + len("bcrypt") + 4 + 20
    assert int.from_bytes(raw[at : at + 4]) < 1000
    raw[at : at + 4] = b"\xff" * 4
    return "\n".join([lines[0], base64.b64encode(raw).decode(), lines[-1], ""])


def _with_rounds_of_pkcs_8(folder: Path) -> str:
    key = asyncssh.generate_private_key("ssh-ed25519")
    found: Any = der_decode(key.export_private_key("pkcs8-der", "pass phrase"))
    (kind, ((function, (salt, _, *more)), cipher)), data = found
    options = (salt, 2**31 - 1, *more)
    raw = der_encode(((kind, ((function, options), cipher)), data))
    body = base64.encodebytes(raw).decode()
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.mark.parametrize("made", [_with_rounds_of_openssh, _with_rounds_of_pkcs_8])
async def test_a_key_that_would_be_tried_without_end_is_refused(
    tmp_path: Path, made: Callable[[Path], str]
) -> None:
    text = await asyncio.to_thread(made, tmp_path)
    credential = Credential(username="backup", private_key=text, passphrase="pass phrase")
    async with serving(RouterOSDouble()) as double:
        with pytest.raises(DeviceUnread, match=r"rounds.*ssh-keygen -p -a") as failed:
            await read(target(double.port, credential=credential))
    assert failed.value.kind == "no_credential"


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
async def test_keys_with_a_passphrase_are_read_in_all_their_forms(form: str) -> None:
    key = asyncssh.generate_private_key("ssh-rsa")
    # Few rounds: a busy machine takes seconds for as many as asyncssh would have.
    text = key.export_private_key(form, "pass phrase", rounds=50).decode()
    credential = Credential(username="backup", private_key=text, passphrase="pass phrase")
    async with serving(RouterOSDouble(authorized_key=key)) as double:
        await read(target(double.port, credential=credential))
    assert double.passwords == []


@asynccontextmanager
async def jump_host() -> AsyncIterator[Target]:
    """A host to jump over, with a login that it takes."""

    async with jump.jump_host(lambda *login: login == ("jumper", "over")) as port:
        yield target(port, name="jump", credential=Credential(username="jumper", password="over"))


async def test_a_device_behind_a_jump_host_is_read_and_both_show_their_keys() -> None:
    async with jump_host() as via, serving(RouterOSDouble()) as double:
        seen = Seen()
        found = await read(target(double.port, via=via), seen)
        assert found.text == double.export
        assert set(seen.keys) == {"jump", "r1"}
        wrong = target(via.port, name="jump", credential=Credential(username="jumper"))
        with pytest.raises(DeviceUnread, match="at the jump host jump") as failed:
            await read(target(double.port, via=wrong))
        # Of the jump host: this device goes on by itself once that is mended.
        assert failed.value.kind == "unreachable"
        assert "refuses the login" in failed.value.reason


async def test_what_is_waited_for_a_turn_at_a_jump_host_is_no_time_of_the_reading() -> None:
    clock = asyncio.get_running_loop().time
    came: list[float] = []

    @asynccontextmanager
    async def turn(host: Target) -> AsyncIterator[None]:
        came.append(clock())
        await eventually(lambda: clock() > came[0] + 0.1)
        yield

    async with jump_host() as via, serving(RouterOSDouble()) as double:
        until = clock() + 20
        async with logged_in(target(double.port, via=via), Seen(), until, turn) as session:
            assert session.until > until + 0.1


async def test_many_readings_of_a_large_export_run_side_by_side() -> None:
    text = export_text("7.14.3", size=200_000)
    async with serving(RouterOSDouble(text_of=lambda _: text)) as double:
        wanted = [
            target(double.port, credential=Credential(username=f"d{n}", password=PASSWORD))
            for n in range(20)
        ]
        found = await asyncio.gather(*(read(one) for one in wanted))
    assert {one.text for one in found} == {text}


async def test_a_name_server_that_hangs_holds_up_only_who_asks_for_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back = threading.Event()
    asked: list[str] = []

    def hang(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        back.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        async with serving(RouterOSDouble()) as double:
            waiting = [
                asyncio.create_task(read(target(double.port, addresses=("r2.example.net",))))
                for _ in range(8)
            ]
            await eventually(lambda: len(asked) > 5)
            async with asyncio.timeout(20):
                found = await read(target(double.port))
                await asyncio.to_thread(int)
        assert found.text == double.export
    finally:
        back.set()
    for one in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(one, DeviceUnread)
        assert one.kind in ("unresolvable", "timeout")
