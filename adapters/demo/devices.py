"""The made-up devices: how each writes its exports, and what was done to it from day to day."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from adapters.demo.bases import (
    ROUTING,
    SCRIPTS,
    VPN_SERVER,
    VPN_USERS,
    WIFI,
    configuration,
)
from adapters.demo.export import Form, Note


class Edit(Struct, frozen=True):
    """A change of the configuration: `old`, which occurs once, becomes `new`."""

    old: str
    new: str


class Step(Struct, frozen=True, kw_only=True):
    """One reading: what was edited since the one before, and how the export came out.

    `shows` says in words what it is for. `delay` is how long after the reading it arrives.
    """

    shows: str
    edits: tuple[Edit, ...] = ()
    width: int = 80
    notes: tuple[Note, ...] = ()
    unread: str | None = None
    delay: timedelta = timedelta()


class DeviceHistory(Struct, frozen=True, kw_only=True):
    """A device with its readings, and what must come of them.

    `new` are the readings (0, 1, …) that begin a configuration, in time order.
    """

    device_id: str
    form: Form
    first: str
    steps: tuple[Step, ...]
    new: tuple[int, ...]


FIREWALL_EDIT = Edit(
    'comment="management: ssh and winbox" dst-port=22,8291',
    'comment="management: ssh only" dst-port=22',
)
SECRET_EDIT = Edit("passphrase=demo-passphrase-one", "passphrase=demo-passphrase-two")

_FIRST = Step(shows="the first reading")
_HEADER = Step(shows="only the time in the header is new")
_SAME = Step(shows="the same, to the byte")
_REWRAPPED = Step(shows="the same, with lines cut elsewhere", width=72)
_DNS = Edit("servers=192.0.2.53,198.51.100.53", "servers=192.0.2.54,198.51.100.53")
_DNS_BACK = Edit(_DNS.new, _DNS.old)
_MONITORING = (
    'add action=accept chain=input comment="monitoring may ping" protocol=icmp '
    "src-address-list=monitoring\n"
)
_INVALID = 'add action=drop chain=input comment="broken connections" connection-state=invalid\n'
_MANAGEMENT = (
    'add action=accept chain=input comment="management: ssh and winbox" dst-port=22,8291 '
    "protocol=tcp src-address-list=management\n"
)
_WLAN = "set [ find default-name=wifi1 ] configuration=office configuration.mode=ap disabled=no"
_PORT = "add bridge=bridge-lan interface=ether4"


def _identity(software: str, model: str, serial: str) -> tuple[str, ...]:
    return (f"software id = {software}", "", f"model = {model}", f"serial number = {serial}")


DEVICES = (
    DeviceHistory(
        device_id="edge-berlin",
        form=Form(
            version="7.14.3",
            header="iso",
            identity=_identity("DEMO-0001", "RB5009UG+S+", "DEMO00000001"),
            crlf=True,
        ),
        first=configuration(7, name="edge-berlin", lan="10.10.1", wan=11),
        steps=(
            _FIRST,
            Step(
                shows="another resolver and a longer lease",
                edits=(_DNS, Edit("lease-time=8h", "lease-time=12h")),
            ),
            _HEADER,
            Step(
                shows="a server moved: its address list and its forwarding",
                edits=(
                    Edit("to-addresses=10.10.1.20", "to-addresses=10.10.1.21"),
                    Edit(
                        " list=monitoring\n",
                        " list=monitoring\nadd address=10.10.1.21 list=servers\n",
                    ),
                ),
            ),
            Step(
                shows="a firewall edit: winbox is closed, attempts are logged",
                edits=(
                    FIREWALL_EDIT,
                    Edit("=!LAN\n", "=!LAN log=yes log-prefix=input\n"),
                ),
            ),
            _HEADER,
        ),
        new=(0, 1, 3, 4),
    ),
    DeviceHistory(
        device_id="edge-hamburg",
        form=Form(
            version="6.49.10",
            header="month",
            identity=_identity("DEMO-0002", "RB4011iGS+", "DEMO00000002"),
            crlf=True,
        ),
        first=configuration(6, name="edge-hamburg", lan="10.10.2", wan=12),
        steps=(
            _FIRST,
            Step(shows="another resolver is tried", edits=(_DNS,)),
            _HEADER,
            Step(shows="back to the first configuration", edits=(_DNS_BACK,)),
            _HEADER,
            _REWRAPPED,
        ),
        new=(0, 1, 3),
    ),
    DeviceHistory(
        device_id="branch-dresden",
        form=Form(
            version="7.16.2",
            header="iso",
            identity=_identity("DEMO-0003", "hAP ax3", "DEMO00000003"),
        ),
        first=configuration(7, name="branch-dresden", lan="10.20.3", wan=13),
        steps=(
            _FIRST,
            _HEADER,
            Step(
                shows="a firewall rule moved up: only the order is new",
                edits=(
                    Edit(
                        _INVALID + _MANAGEMENT + _MONITORING, _INVALID + _MONITORING + _MANAGEMENT
                    ),
                ),
            ),
            _HEADER,
            _REWRAPPED,
            _HEADER,
        ),
        new=(0, 2),
    ),
    DeviceHistory(
        device_id="branch-leipzig",
        form=Form(
            version="6.48.6",
            header="padded",
            identity=_identity("DEMO-0004", "RB3011UiAS", "DEMO00000004"),
            crlf=True,
        ),
        first=configuration(6, name="branch-leipzig", lan="10.20.4", wan=14, system=SCRIPTS),
        steps=(
            _FIRST,
            _REWRAPPED,
            Step(
                shows="only a status line is new",
                notes=(Note(_PORT, "Interface not running"),),
            ),
            _HEADER,
            Step(shows="the nightly script runs later", edits=(Edit("=02:00:00", "=03:30:00"),)),
            _HEADER,
        ),
        new=(0, 4),
    ),
    DeviceHistory(
        device_id="ap-office",
        form=Form(
            version="7.15.3",
            header="iso",
            identity=_identity("DEMO-0005", "cAP ax", "DEMO00000005"),
            crlf=True,
        ),
        first=configuration(7, name="ap-office", lan="10.30.5", wan=15, interfaces=WIFI),
        steps=(
            _FIRST,
            Step(
                shows="only status lines are new",
                notes=(
                    Note(_WLAN, "DFS channel availability check (1 min)"),
                    Note(_PORT, "poe-out status: short_circuit"),
                ),
            ),
            _HEADER,
            Step(shows="a changed secret: the passphrase", edits=(SECRET_EDIT,)),
            _HEADER,
            Step(shows="another network name", edits=(Edit("=example-office", "=example-house"),)),
        ),
        new=(0, 3, 5),
    ),
    DeviceHistory(
        device_id="core-frankfurt",
        form=Form(
            version="7.12.1",
            header="iso",
            identity=_identity("DEMO-0006", "CCR2116-12G-4S+", "DEMO00000006"),
        ),
        first=configuration(7, name="core-frankfurt", lan="10.0.6", wan=16, protocols=ROUTING),
        steps=(
            _FIRST,
            _HEADER,
            Step(
                shows="a partial export: a menu did not answer",
                unread="/routing ospf interface-template",
            ),
            Step(shows="complete again"),
            _HEADER,
            Step(shows="a dearer path", edits=(Edit("cost=10 ", "cost=20 "),)),
        ),
        new=(0, 2, 3, 5),
    ),
    DeviceHistory(
        device_id="vpn-cologne",
        form=Form(
            version="6.49.13",
            header="month",
            identity=_identity("DEMO-0007", "hEX S", "DEMO00000007"),
            crlf=True,
        ),
        first=configuration(
            6,
            name="vpn-cologne",
            lan="10.40.7",
            wan=17,
            interfaces=VPN_SERVER,
            protocols=VPN_USERS,
        ),
        steps=(
            _FIRST,
            _HEADER,
            Step(
                shows="a password was changed; arrives late, two days after it was read",
                edits=(Edit("password=demo-password-1", "password=demo-password-3"),),
                delay=timedelta(days=2, hours=6),
            ),
            Step(
                shows="a third laptop",
                edits=(
                    Edit(
                        "remote-address=192.168.99.12 service=l2tp\n",
                        "remote-address=192.168.99.12 service=l2tp\n"
                        'add comment="laptop 3" local-address=192.168.99.1 name=laptop-3 '
                        "password=demo-password-4 remote-address=192.168.99.13 service=l2tp\n",
                    ),
                ),
            ),
            _HEADER,
            _HEADER,
        ),
        new=(0, 2, 3),
    ),
    DeviceHistory(
        device_id="lab-chr",
        form=Form(
            version="7.19.1",
            header="masked",
            identity=("system id = DEMOdemoDEM", "", "software id ="),
        ),
        first=configuration(7, name="lab-chr", lan="10.99.8", wan=18),
        steps=(
            _FIRST,
            Step(
                shows="one address list entry more",
                edits=(
                    Edit(
                        " list=management\n",
                        " list=management\nadd address=198.51.100.40 list=management\n",
                    ),
                ),
            ),
            _SAME,
            _SAME,
            Step(shows="one lease time less", edits=(Edit("lease-time=8h", "lease-time=1h"),)),
            _SAME,
        ),
        new=(0, 1, 4),
    ),
)
