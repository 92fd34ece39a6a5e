"""The `accounts` block of nats-server's configuration: who may do what.

The services share one account, which holds all streams. A tenant has an account of its own, from
which only three things lead out: sending to the intake (the server writes the tenant into the
subject), answering its own backups' requests, and a mirror of its branch of the log. Within one
account permissions can't keep tenants apart: whoever may pull from a consumer of a stream may pull
from all of that stream's consumers, since a subject's wildcard stands for whole tokens.

The mirror has the log's own positions, times and headers, so the contract's guide holds for it;
positions of other tenants are missing in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from adapters.jetstream.checkpoints import CHECKPOINTS
from adapters.jetstream.content_store import CONTENT
from adapters.jetstream.dead_letters import DEAD_LETTERS
from adapters.jetstream.intake import CREATE, FAILED, PART
from adapters.jetstream.key_store import BUCKET as KEYS
from adapters.jetstream.streams import EVENTS
from adapters.roles.trigger import SUBJECT as TRIGGER
from domain.ids import to_token

SERVICES: Final = "CONFIGTRAIL"
MIRROR_API: Final = "CONFIGTRAIL.API"
"""What the services' JetStream API is called in a tenant's account, for its mirror alone."""

_CREATE_CONSUMER = f"CONSUMER.CREATE.{EVENTS}"
# What the program only ever adds to, or takes single messages from: with other settings, or purged,
# it would be gone.
_KEPT = (EVENTS, CONTENT, DEAD_LETTERS, CHECKPOINTS, f"KV_{KEYS}")


class TenantAccount(Struct, frozen=True, kw_only=True):
    """A tenant's users, by their passwords.

    `poller` sends observations and answers requests for backups; `reader` replays the tenant's
    events; `keeper` makes the mirror, once, and is for the operator.
    """

    tenant_id: str
    poller: str
    reader: str
    keeper: str


def accounts_block(tenants: Sequence[TenantAccount]) -> str:
    """The block, as text for the server. The services' own passwords are variables of its
    environment, those of tenants stand in it: keep it to yourself."""
    blocks = [_services([one.tenant_id for one in tenants]), *map(_tenant, tenants)]
    return "accounts {\n" + "".join(blocks) + "}\n"


def account_of(tenant_id: str) -> str:
    """What a tenant's account is called."""
    return f"TENANT_{to_token(tenant_id)}"


def user_of(tenant_id: str, kind: str) -> str:
    """What a tenant's `poller`, `reader` or `keeper` is called."""
    return f"{to_token(tenant_id)}.{kind}"


def deliver_prefix(tenant_id: str) -> str:
    """Below it the log's messages go to a tenant's mirror."""
    return f"configtrail-mirror.{to_token(tenant_id)}"


def _services(tenant_ids: Sequence[str]) -> str:
    # What would remove or change facts. An administrator may; the running program never needs it.
    denied = ["$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.RESTORE.>", "$JS.API.STREAM.SNAPSHOT.>"]
    for kept in _KEPT:
        denied += [f"$JS.API.STREAM.PURGE.{kept}", f"$JS.API.STREAM.UPDATE.{kept}"]
    denied += [f"$JS.API.STREAM.MSG.DELETE.{log}" for log in (EVENTS, CHECKPOINTS)]
    exports, imports = [], []
    for tenant_id in tenant_ids:
        to = [account_of(tenant_id)]
        token = to_token(tenant_id)
        exports += [
            _entry(service=f"{CREATE}.{token}", accounts=to),
            _entry(service=f"{FAILED}.{token}", accounts=to),
            _entry(
                service=f"$JS.API.{_CREATE_CONSUMER}.*.configtrail.{token}.>",
                response_type="stream",
                accounts=to,
            ),
            _entry(stream=f"{deliver_prefix(tenant_id)}.>", accounts=to),
        ]
        imports.append(
            _entry(
                service={"account": account_of(tenant_id), "subject": TRIGGER},
                to=f"{TRIGGER}.{token}",
            )
        )
    if tenant_ids:
        everybody = [account_of(one) for one in tenant_ids]
        exports += [
            _entry(service=f"{PART}.*.*", accounts=everybody),
            _entry(service=f"$JS.FC.{EVENTS}.>", accounts=everybody),
        ]
    return f"""\
  {SERVICES} {{
    jetstream: enabled
    users: [
      {{ user: configtrail, password: $CONFIGTRAIL_NATS_PASSWORD
        permissions: {{ publish: {{ deny: {json.dumps(denied)} }} }} }}
      {{ user: admin, password: $CONFIGTRAIL_NATS_ADMIN_PASSWORD }}
    ]
{_list("exports", exports)}{_list("imports", imports)}  }}
"""


def _tenant(tenant: TenantAccount) -> str:
    token = to_token(tenant.tenant_id)
    users = [
        _user(
            tenant.tenant_id,
            "poller",
            tenant.poller,
            publish=[CREATE, FAILED, f"{PART}.*.*"],
            subscribe=[TRIGGER, f"{TRIGGER} >"],
            answers=True,
        ),
        _user(
            tenant.tenant_id,
            "reader",
            tenant.reader,
            publish=[
                "$JS.API.INFO",
                f"$JS.API.STREAM.INFO.{EVENTS}",
                f"$JS.API.CONSUMER.*.{EVENTS}.>",
                f"$JS.API.CONSUMER.*.*.{EVENTS}.>",
                f"$JS.API.DIRECT.GET.{EVENTS}.>",
                f"$JS.API.DIRECT.GET.{EVENTS}",
                f"$JS.API.STREAM.MSG.GET.{EVENTS}",
                f"$JS.ACK.{EVENTS}.>",
            ],
            subscribe=[],
        ),
        _user(
            tenant.tenant_id,
            "keeper",
            tenant.keeper,
            publish=["$JS.API.INFO"]
            + [f"$JS.API.STREAM.{act}.{EVENTS}" for act in ("INFO", "CREATE", "DELETE")],
            subscribe=[],
        ),
    ]
    theirs = f"{_CREATE_CONSUMER}.*.configtrail.{token}.>"
    imports = [
        _entry(service=_from_services(f"{CREATE}.{token}"), to=CREATE),
        _entry(service=_from_services(f"{FAILED}.{token}"), to=FAILED),
        _entry(service=_from_services(f"{PART}.*.*")),
        _entry(service=_from_services(f"$JS.API.{theirs}"), to=f"{MIRROR_API}.{theirs}"),
        _entry(service=_from_services(f"$JS.FC.{EVENTS}.>")),
        _entry(stream=_from_services(f"{deliver_prefix(tenant.tenant_id)}.>")),
    ]
    exports = [_entry(service=TRIGGER, accounts=[SERVICES])]
    return f"""\
  {json.dumps(account_of(tenant.tenant_id))} {{
    jetstream: enabled
{_list("users", users)}{_list("exports", exports)}{_list("imports", imports)}  }}
"""


def _user(
    tenant_id: str,
    kind: str,
    password: str,
    *,
    publish: list[str],
    subscribe: list[str],
    answers: bool = False,
) -> str:
    name = user_of(tenant_id, kind)
    permissions: dict[str, object] = {
        "publish": {"allow": publish},
        # An inbox of its own: answers to one user are not another's to read.
        "subscribe": {"allow": [f"_INBOX_{name}.>", *subscribe]},
    }
    if answers:
        permissions["allow_responses"] = True
    return _entry(user=name, password=password, permissions=permissions)


def _from_services(subject: str) -> dict[str, str]:
    return {"account": SERVICES, "subject": subject}


def _entry(**fields: object) -> str:
    # JSON is nats-server's own format as well.
    return json.dumps(fields)


def _list(name: str, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    return f"    {name}: [\n" + "".join(f"      {one}\n" for one in entries) + "    ]\n"
