"""The inventory of a NetBox: `GET /api/dcim/devices/`, page after page.

A device becomes an entry when it has a name, a primary address and a platform that can be read; the
others (patch panels, power strips) are left out and named. Its custom fields
`configtrail_<field>` stand in for fields that NetBox does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from adapters.collecting.fetching import HttpFailed, get_json, host_of
from adapters.ssh.profiles import PLATFORMS
from domain.events import GivenSettings
from domain.fields import FIELDS, JUMP_PLATFORM, OF_ONE_DEVICE, Problem, check_names, given_of
from domain.inventory import Judged, Row, judge

PAGE: Final = 500
_CUSTOM: Final = "configtrail_"
_TOKEN_2: Final = "nbt_"
_SLUGS: Final = {
    "mikrotik": "routeros",
    "mikrotik-routeros": "routeros",
    "cisco-ios": "ios",
    "cisco-ios-xe": "ios",
    "ios-xe": "ios",
    "arista-eos": "eos",
    "juniper-junos": "junos",
    "fortinet-fortios": "fortios",
    "frrouting": "frr",
}


class NetBoxDevices(Struct, frozen=True):
    """The entries with their problems, and the names of devices that were left out."""

    judged: Judged
    left_out: list[str]


async def read_netbox(address: str, token: str, defaults: Mapping[str, str]) -> NetBoxDevices:
    """The active devices of a NetBox. `defaults` are for those that neither it nor a group gives
    one. Raises `HttpFailed`."""
    problems = check_names(defaults, "default")
    problems += [
        Problem("default", name, "must stand with a device")
        for name in OF_ONE_DEVICE
        if name in defaults
    ]
    fallback = given_of(defaults, PLATFORMS, "default", problems)
    base = address.rstrip("/")
    url: str | None = f"{base}/api/dcim/devices/?status=active&limit={PAGE}"
    # Tokens of version 2, which NetBox makes since 4.5, are bearer tokens.
    scheme = "Bearer" if token.startswith(_TOKEN_2) else "Token"
    headers = {"Authorization": f"{scheme} {token}"}
    rows: list[Row] = []
    left_out: list[str] = []
    asked: set[str] = set()
    while url is not None:
        if url in asked:
            raise HttpFailed(host_of(base), "its pages lead in a circle")
        asked.add(url)
        page = await asyncio.to_thread(get_json, url, headers)
        results, following = page.get("results"), page.get("next")
        if not isinstance(results, list):
            raise HttpFailed(host_of(base), "its answer is no page of devices")
        for device in results:
            if not isinstance(device, dict):
                raise HttpFailed(host_of(base), "its answer is no page of devices")
            where = f"NetBox device {device.get('id')}"
            problems += _odd_fields(device, where)
            fields = _fields(device, fallback)
            if fields is None:
                left_out.append(str(device.get("name") or device.get("id")))
            else:
                rows.append(Row(where, fields, fallback))
        url = following if isinstance(following, str) else None
        if url is not None and not _same_server(url, base):
            # The token must not go to wherever an answer points.
            raise HttpFailed(host_of(base), "its next page lies on another server")
    if not rows and not problems:
        rule = (
            "must be there: it shows none with an address and a platform; may the token see them?"
        )
        problems.append(Problem("NetBox", "devices", rule))
    return NetBoxDevices(judge(rows, PLATFORMS, problems), left_out)


def _same_server(url: str, base: str) -> bool:
    try:
        return urlsplit(url)[:2] == urlsplit(base)[:2]
    except ValueError:
        return False


def _odd_fields(device: Mapping[str, Any], where: str) -> list[Problem]:
    """The problems of custom fields that are meant for us: secrets, and what is no field."""
    names = [
        name.removeprefix(_CUSTOM)
        for name, value in _object(device, "custom_fields").items()
        if name.startswith(_CUSTOM) and _plain(value)
    ]
    return [replace(one, field=f"{_CUSTOM}{one.field}") for one in check_names(names, where)]


def _fields(device: Mapping[str, Any], fallback: GivenSettings) -> dict[str, str] | None:
    name = device.get("name")
    primary = _object(device, "primary_ip")
    slug = str(_object(device, "platform").get("slug") or "").lower()
    given = _object(device, "custom_fields")
    custom = {
        field: _plain(value)
        for field in FIELDS
        if (value := given.get(f"{_CUSTOM}{field}")) is not None
    }
    platform = custom.get("platform") or _SLUGS.get(slug, slug)
    address = str(primary.get("address") or "").partition("/")[0]
    if not name or not (address or custom.get("address")):
        return None
    if (platform or fallback.platform) not in (*PLATFORMS, JUMP_PLATFORM):
        return None
    site = str(_object(device, "site").get("slug") or "")
    found = {"name": str(name), "address": address, "group": site}
    return {**found, **custom, "platform": platform}


def _object(device: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of a device; an empty one when it is anything else."""
    found = device.get(name)
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> str:
    """A custom field's value as text; of a selection that which is meant."""
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
