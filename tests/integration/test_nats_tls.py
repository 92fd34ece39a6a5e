"""TLS to a NATS server: who it must be, and who is not sent the password."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.jetstream.connection import connect
from domain.errors import InvalidInput, Unavailable


def certified(folder: Path, host: str, ends: datetime) -> ssl.SSLContext:
    """What a server shows itself by: a certificate of the authority in `ca.crt`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    own = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=30))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "ca.crt").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key")
    return context


@pytest.mark.parametrize(
    ("host", "days", "let_in"),
    [("localhost", 1, True), ("nats.example", 1, False), ("localhost", -1, False)],
    ids=["right", "another name", "expired"],
)
async def test_a_certificate_must_have_the_name_and_not_have_ended(
    tmp_path: Path, host: str, days: int, let_in: bool
) -> None:
    heard = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.12.0", "max_payload": 1048576, "headers": True}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        with suppress(ConnectionError):
            heard.extend(await reader.read(4096))
        writer.close()

    ends = datetime.now(UTC) + timedelta(days=days)
    context = await asyncio.to_thread(certified, tmp_path, host, ends)
    async with await asyncio.start_server(pretend, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"tls://u:secret-word@localhost:{port}?ca={tmp_path / 'ca.crt'}"
        with suppress(Unavailable):
            await (await connect(url, name="test", within=2)).close()
    assert (b"secret-word" in heard) == let_in


async def test_a_server_without_tls_is_not_sent_the_password(tmp_path: Path) -> None:
    """A man in the middle says, in clear, that TLS is not needed."""
    heard = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.12.0", "max_payload": 1048576, "headers": True}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        while data := await reader.read(4096):
            heard.extend(data)
        writer.close()

    async with await asyncio.start_server(pretend, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable):
            await connect(f"tls://u:secret-word@127.0.0.1:{port}", name="test", within=2)
    assert heard
    assert b"secret-word" not in heard


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("tls://a:b@h:1,nats://a:b@h:2", "for all servers"),
        ("nats://a:b@h:1?ca=/x", "must begin with tls"),
        ("tls://a:b@h:1?ca=/does/not/exist", "No such file"),
        ("tls://a:b@h:1?cert=/x", "together"),
        ("tls://a:hush@h:1?capath=/x", "no more"),
        ("tls://a:hush@:0", "must be like"),
        ("ws://a:hush@h:8080", "over WebSocket NATS is not spoken with here"),
        ("nats://a:hush@h:1,WSS://a:hush@h:443", "over WebSocket NATS is not spoken with here"),
        ("https://a:hush@h:443", "must begin with nats:// or tls://"),
    ],
)
async def test_an_address_that_is_wrong_is_told_without_its_password(url: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        await connect(url, name="test", within=1)
    assert "hush" not in str(caught.value)
