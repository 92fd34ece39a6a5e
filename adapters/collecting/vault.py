"""Secrets of a KV engine, version 2, of OpenBao or HashiCorp Vault: `GET /v1/<mount>/data/<path>`.

The answer's `data.data` is the secret: an object of strings.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from adapters.collecting.fetching import HttpFailed, get_json
from adapters.lookups import SERVERS
from adapters.ssh.failures import DeviceUnread


class Vault:
    """A server, asked with a token."""

    def __init__(self, address: str, token: str, namespace: str | None = None) -> None:
        self._address = address.rstrip("/")
        self._headers = {"X-Vault-Token": token}
        if namespace is not None:
            self._headers["X-Vault-Namespace"] = namespace

    async def read(self, place: str) -> str:
        """The secret as JSON. Raises `DeviceUnread` (no_credential)."""
        mount, _, path = place.partition("/")
        url = f"{self._address}/v1/{quote(mount)}/data/{quote(path)}"
        try:
            answer = await SERVERS.run(get_json, url, self._headers)
        except HttpFailed as error:
            raise DeviceUnread(
                "no_credential", f"the credential vault:{place} can't be had: {error.reason}"
            ) from error
        found = answer.get("data")
        secret = found.get("data") if isinstance(found, dict) else None
        if not isinstance(secret, dict):
            raise DeviceUnread(
                "no_credential", f"the credential vault:{place} is no secret of version 2"
            )
        return json.dumps(secret)
