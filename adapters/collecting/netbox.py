"""The inventory of a NetBox: `GET /api/dcim/devices/`, page after page.

An active device becomes an entry when it has a name, a primary address and a platform that can be
read; the others (patch panels, power strips) are left out and named. Its custom fields
`configtrail_<field>` stand in for fields that NetBox does not have. What is not active is no entry:
out of service it counts as gone, else (offline, planned, a status of somebody's own) it rests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from adapters.collecting.fetching import HttpFailed, get_json, host_of
from adapters.lookups import SERVERS
from adapters.ssh.profiles import PLATFORMS
from domain.events import GivenSettings
from domain.fields import (
    FIELDS,
    JUMP_PLATFORM,
    NO_TEXT,
    OF_ONE_DEVICE,
    Problem,
    check_names,
    given_of,
    is_text,
)
from domain.inventory import Judged, Row, judge

PAGE: Final = 500
# It thinks for a while about so many.
_PAGE_SECONDS: Final = 120.0
_CUSTOM: Final = "configtrail_"
_PLATFORMS: Final = (*PLATFORMS, JUMP_PLATFORM)
_ACTIVE: Final = "active"
_OUT_OF_SERVICE: Final = ("decommissioning", "inventory")
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
    """The devices with what is wrong so far, and the names of those that are none: active ones that
    were `left_out`, and those that are not active and not out of service either."""

    rows: list[Row]
    problems: list[Problem]
    left_out: list[str]
    resting: list[str]

    def judged(self, registered: Collection[str] = ()) -> Judged:
        """The entries with their problems. They may be reached through what is `registered`: a jump
        host that only rests in the NetBox stays as it is, and one may be registered by hand."""
        return judge(self.rows, PLATFORMS, self.problems, registered)

    @property
    def kept(self) -> list[str]:
        """The names of devices that it has, and that stay as they are."""
        return [*self.left_out, *self.resting]


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
    # In this order what is added meanwhile comes last, and moves nothing to another page.
    url: str | None = f"{base}/api/dcim/devices/?limit={PAGE}&ordering=id"
    # Tokens of version 2, which NetBox makes since 4.5, are bearer tokens.
    scheme = "Bearer" if token.startswith(_TOKEN_2) else "Token"
    headers = {"Authorization": f"{scheme} {token}"}
    rows: list[Row] = []
    left_out: list[str] = []
    resting: list[str] = []
    asked: set[str] = set()
    most = 0
    while url is not None:
        if url in asked:
            raise HttpFailed(host_of(base), "its pages lead in a circle")
        asked.add(url)
        page = await SERVERS.run(get_json, url, headers, _PAGE_SECONDS)
        results, following, count = page.get("results"), page.get("next"), page.get("count")
        if not isinstance(results, list):
            raise HttpFailed(host_of(base), "its answer is no page of devices")
        if isinstance(count, int):
            if count < most:
                # The next ones moved up, maybe one of them to a page that was read already.
                rule = "devices were removed from it meanwhile: do it again"
                raise HttpFailed(host_of(base), rule)
            most = count
        for device in results:
            if not isinstance(device, dict):
                raise HttpFailed(host_of(base), "its answer is no page of devices")
            status = _object(device, "status").get("value")
            if status in _OUT_OF_SERVICE:
                continue
            where = f"NetBox device {device.get('id')}"
            fields = _fields(device)
            if not is_text(fields["name"]):
                problems.append(Problem(where, "name", NO_TEXT))
                continue
            if status != _ACTIVE:
                resting.append(fields["name"] or str(device.get("id")))
                continue
            problems += _odd_fields(device, where)
            if not _is_readable(fields, fallback):
                left_out.append(fields["name"] or str(device.get("id")))
            else:
                rows.append(Row(where, fields, fallback))
        url = following if isinstance(following, str) else None
        if url is not None and not _same_server(url, base):
            # The token must not go to wherever an answer points.
            raise HttpFailed(host_of(base), "its next page lies on another server")
    if not rows and not problems:
        rule = (
            "must be there: it shows no active one with an address and a platform; may the token "
            "see them?"
        )
        problems.append(Problem("NetBox", "devices", rule))
    return NetBoxDevices(rows, problems, left_out, resting)


def _same_server(url: str, base: str) -> bool:
    try:
        return urlsplit(url)[:2] == urlsplit(base)[:2]
    except ValueError:
        return False


def _odd_fields(device: Mapping[str, Any], where: str) -> list[Problem]:
    """The problems of custom fields that are meant for us: secrets, what is no field, values that
    nobody can tell what they mean, and platforms that can't be read."""
    given = {
        name.removeprefix(_CUSTOM): _plain(value)
        for name, value in _object(device, "custom_fields").items()
        if name.startswith(_CUSTOM)
    }
    told = check_names([name for name, text in given.items() if text != ""], where)
    told += [
        Problem(where, name, "must be a text, a selection, or an object with a name")
        for name, text in given.items()
        if name in FIELDS and text is None
    ]
    platform = given.get("platform")
    if platform and platform not in _PLATFORMS:
        told.append(Problem(where, "platform", f"must be one of {', '.join(_PLATFORMS)}"))
    return [replace(one, field=f"{_CUSTOM}{one.field}") for one in told]


def _fields(device: Mapping[str, Any]) -> dict[str, str]:
    """A device's fields; those that it lacks are empty. What is odd is told elsewhere."""
    slug = str(_object(device, "platform").get("slug") or "").lower()
    found = {
        "name": str(device.get("name") or "").strip(),
        "address": str(_object(device, "primary_ip").get("address") or "").partition("/")[0],
        "group": str(_object(device, "site").get("slug") or ""),
        "platform": _SLUGS.get(slug, slug),
    }
    given = _object(device, "custom_fields")
    custom = {field: _plain(given.get(f"{_CUSTOM}{field}")) for field in FIELDS}
    if custom["platform"] and custom["platform"] not in _PLATFORMS:
        custom["platform"] = None
    # An empty field says nothing, and takes nothing away.
    return {**found, **{field: text for field, text in custom.items() if text}}


def _is_readable(fields: Mapping[str, str], fallback: GivenSettings) -> bool:
    platform = fields["platform"] or fallback.platform
    return bool(fields["name"] and fields["address"]) and platform in _PLATFORMS


def _object(device: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of a device; an empty one when it is anything else."""
    found = device.get(name)
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> str | None:
    """A custom field's value as text: of a selection that which is meant, of an object its name, of
    several all of them. None: nobody can tell."""
    match value:
        case None:
            return ""
        case {"value": meant} | {"name": meant}:
            return None if isinstance(meant, (dict, list)) else _plain(meant)
        case dict():
            return None
        case list():
            parts = [None if isinstance(one, list) else _plain(one) for one in value]
            return None if None in parts else " ".join(filter(None, parts))
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value).strip()
