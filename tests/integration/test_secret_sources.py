"""Secrets from other systems and from files: looked for once, and in no error."""

from __future__ import annotations

import asyncio
import io
import traceback
from pathlib import Path
from typing import cast

import pytest

from adapters.cli.credentials import set_credential
from adapters.collecting.credentials import Credentials, CredentialStore, parse_secret
from adapters.collecting.fetching import HttpFailed
from adapters.collecting.netbox import read_netbox
from adapters.collecting.vault import Vault
from adapters.settings import Settings
from adapters.ssh.failures import DeviceUnread
from adapters.ssh.target import Credential
from domain.errors import InvalidInput
from tests.doubles.sources import TOKEN, serving
from tests.support import answering


async def test_a_secret_of_a_vault_is_read_and_its_token_follows_no_redirect() -> None:
    with serving() as vault:
        vault.secrets["secret/data/routers"] = {"username": "backup", "password": "pw"}
        text = await Vault(vault.url, TOKEN).read("secret/routers")
        assert (parse_secret(text).username, parse_secret(text).password) == ("backup", "pw")
        for wrong in (
            Vault(vault.url, "wrong"),
            Vault(f"{vault.url}/moved", TOKEN),
            Vault("ftp://x", TOKEN),
        ):
            with pytest.raises(DeviceUnread) as failed:
                await wrong.read("secret/routers")
            assert failed.value.kind == "no_credential"
            assert TOKEN not in str(failed.value)
        assert vault.stolen == []


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-Dompfaff\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nDompfaff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{Dompfaff",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
    ],
)
async def test_a_server_that_speaks_no_http_is_told_and_not_quoted(said: bytes) -> None:
    async with answering(said) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(DeviceUnread) as failed:
            await Vault(url, TOKEN).read("secret/routers")
        assert failed.value.kind == "no_credential"
        with pytest.raises(HttpFailed) as refused:
            await read_netbox(url, TOKEN, {})
    assert "Dompfaff" not in f"{failed.value} {refused.value}"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:Dompfaff@vault",
        "https://user:Dompfaff@127.0.0.1:1/x",
        "http://Dompfaff@[",
        "http://127.0.0.1:Dompfaff",
        "http://127.0.0.1:1/a b",
        "Dompfaff",
    ],
)
async def test_a_secret_in_an_address_is_in_no_error(url: str) -> None:
    with pytest.raises(DeviceUnread) as failed:
        await Vault(url, TOKEN).read("secret/routers")
    assert failed.value.kind == "no_credential"
    with pytest.raises(HttpFailed) as refused:
        await read_netbox(url, TOKEN, {})
    told = [failed.value, refused.value]
    assert "Dompfaff" not in "".join("".join(traceback.format_exception(one)) for one in told)


async def test_a_secret_that_many_ask_for_at_once_is_looked_for_once(tmp_path: Path) -> None:
    with serving() as server:
        server.secrets["secret/data/routers"] = {"username": "backup", "password": "x"}
        vault = Vault(server.url, TOKEN, None)
        unused = cast(CredentialStore, None)
        credentials = Credentials(unused, vault, tmp_path)

        async def ask(place: str) -> list[object]:
            asked = (credentials.find("acme", f"vault:{place}", None) for _ in range(20))
            return await asyncio.gather(*asked, return_exceptions=True)

        found = await ask("secret/routers")
        assert {one.password for one in found if isinstance(one, Credential)} == {"x"}
        assert server.asked == 1
        failed = await ask("secret/nothing")
        assert {type(one) for one in failed} == {DeviceUnread}
        assert server.asked == 2
        credentials.forget("acme", "vault:secret/routers")
        await ask("secret/routers")
        assert server.asked == 3


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("place", [".", "a/..", "a\0b", "\ud800"])
async def test_what_can_be_no_file_is_no_credential(
    tmp_path: Path, place: str, trusted: bool
) -> None:
    credentials = Credentials(cast(CredentialStore, None), None, tmp_path, trusted=trusted)
    with pytest.raises(DeviceUnread) as failed:
        await credentials.find("acme", f"file:{place}", None)
    assert failed.value.kind == "no_credential"


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
async def test_a_password_on_standard_input_that_is_no_text_is_refused_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, errors: str
) -> None:
    given = io.TextIOWrapper(io.BytesIO(b"correct \xff horse\n"), "utf-8", errors)
    monkeypatch.setattr("sys.stdin", given)
    with pytest.raises(InvalidInput, match="UTF-8") as failed:
        await set_credential(Settings(), name="main")
    assert "correct" not in "".join(traceback.format_exception(failed.value))
    assert failed.value.__context__ is None
