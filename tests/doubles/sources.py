"""A NetBox's list of devices and a Vault's secrets, as far as they are documented."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from adapters.collecting.netbox import read_netbox
from domain.fields import Problem

TOKEN = "0123456789abcdef"
# As NetBox makes them since 4.5.
TOKEN_2 = "nbt_4F9DAouzURLb.zjebxBPzICiPbWz0Wtx0fTL7bCKXKGTYhNzkgC2S"


class Server(ThreadingHTTPServer):
    """Speaks NetBox's list of devices and a Vault's KV engine, as far as they are documented."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.devices: list[dict[str, object]] = []
        self.secrets: dict[str, dict[str, object]] = {}
        self.next_host: str | None = None
        self.page = 2
        self.circle = False
        self.later: tuple[int, object] | None = None
        self.meanwhile: Callable[[], None] | None = None
        self.stolen: list[str] = []
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/api/dcim/devices/":
            self._netbox(parse_qs(parts.query))
        elif parts.path.startswith("/v1/"):
            self._vault(parts.path.removeprefix("/v1/"))
        elif parts.path == "/moved/v1/secret/data/routers":
            self._send(302, {}, {"Location": f"{self.server.url}/stolen"})
        else:
            self.server.stolen.append(self.headers.get("X-Vault-Token") or "")
            self._send(404, {})

    def _netbox(self, query: dict[str, list[str]]) -> None:
        if self.headers.get("Authorization") not in (f"Token {TOKEN}", f"Bearer {TOKEN_2}"):
            self._send(403, {"detail": "Invalid token"})
            return
        start = int(query.get("offset", ["0"])[0])
        if start and self.server.later is not None:
            status, body = self.server.later
            self._send(status, body, {"Location": "/stolen"} if status == 302 else None)
            return
        if start and self.server.meanwhile is not None:
            self.server.meanwhile()
            self.server.meanwhile = None
        devices = self.server.devices
        by = query.get("ordering")
        if by is not None:
            devices = sorted(devices, key=lambda one: str(one[by[0]]))
        end = 0 if self.server.circle else start + self.server.page
        host = self.server.next_host or self.server.url
        asked = urlencode({**query, "limit": 2, "offset": end}, doseq=True)
        following = f"{host}/api/dcim/devices/?{asked}" if end < len(devices) else None
        results = devices[start : start + self.server.page]
        told = {"count": len(devices), "next": following, "previous": None, "results": results}
        self._send(200, told)

    def _vault(self, place: str) -> None:
        self.server.asked += 1
        if self.headers.get("X-Vault-Token") != TOKEN or place not in self.server.secrets:
            self._send(403, {"errors": ["permission denied"]})
            return
        data = {"data": self.server.secrets[place], "metadata": {"version": 1}}
        self._send(200, {"request_id": "x", "data": data})

    def _send(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def device(number: int, **given: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": number,
        "name": f"r{number}",
        "platform": {"id": 1, "name": "MikroTik RouterOS", "slug": "mikrotik-routeros"},
        "primary_ip": {"id": 4, "family": {"value": 4}, "address": f"192.0.2.{number}/24"},
        "site": {"id": 1, "name": "Berlin", "slug": "berlin"},
        "status": {"value": "active"},
        "custom_fields": {},
    }
    return {**fields, **given}


async def problems(netbox: Server) -> list[Problem]:
    """What is told as wrong of what it answers."""
    return (await read_netbox(netbox.url, TOKEN, {})).judged().problems
