"""The application: its options, its commands, and how a command becomes a program."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from adapters.cli import auditing, program
from adapters.cli.accounts import (
    add_accounts,
    list_accounts,
    mirror,
    remove_account,
    show_account,
)
from adapters.cli.backup import trigger
from adapters.cli.collecting import collect, collector
from adapters.cli.credentials import (
    list_credentials,
    list_host_keys,
    release_host_key,
    remove_credential,
    set_credential,
)
from adapters.cli.demo import demo
from adapters.cli.doctor import doctor
from adapters.cli.groups import (
    change_group,
    list_groups,
    remove_group,
    set_group,
    show_device,
)
from adapters.cli.importing import import_folder
from adapters.cli.inventory import (
    apply_inventory,
    list_inventory,
    remove_device,
    set_device,
)
from adapters.cli.keys import create_key, list_keys, revoke_key
from adapters.cli.letters import list_letters, retry_letter, show_letter
from adapters.cli.listings import audit, devices, fleet, history
from adapters.cli.parked import list_parked, retry_parked, skip_parked
from adapters.cli.projections import status, verify_rows
from adapters.cli.rebuilding import rebuild
from adapters.cli.recanonicalising import recanonicalise
from adapters.cli.replaying import replay
from adapters.cli.retaining import (
    erase,
    place_hold,
    release_hold,
    run_retention,
    set_retention,
    show_retention,
)
from adapters.cli.rotating import rotate_master_key, rotate_tenant_key
from adapters.cli.texts import diff, show
from adapters.cli.up import up
from adapters.cli.witnessing import witness
from adapters.observability.logging import configure_logging
from adapters.settings import Settings
from domain.errors import InvalidInput
from domain.ids import check_tenant_id

Command = Callable[..., Coroutine[Any, Any, int]]
C = TypeVar("C", bound=Command)

app = typer.Typer(
    name="configtrail",
    help="The configuration history of network devices.",
    epilog="Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 a server can't be reached.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Tenant = Annotated[str | None, typer.Option("--tenant", help="Whose devices.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the data lies.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]


@app.callback()
def options(
    context: typer.Context, tenant: Tenant = None, data_dir: DataDir = None, debug: Debug = False
) -> None:
    """The configuration history of network devices."""
    context.obj = {"tenant": tenant, "data_dir": data_dir, "debug": debug}


def command(
    group: typer.Typer, name: str | None = None, *, serves: bool = False, quiet: bool = True
) -> Callable[[C], C]:
    """Make a coroutine function a command of `group`. It gets the settings first, then its own
    arguments and options, and returns the exit status. Without a name it is what the group does
    when no command of it is named.

    The options `--tenant`, `--data-dir` and `--debug` may stand before and after its name.
    `serves`: it runs until it is stopped. `quiet`: of its logs only warnings are shown.
    """

    def register(function: C) -> C:
        @functools.wraps(function)
        def run_it(
            context: typer.Context,
            *,
            tenant: str | None,
            data_dir: Path | None,
            debug: bool,
            **given: object,
        ) -> None:
            before = context.obj
            context.obj = {
                "tenant": before["tenant"] if tenant is None else tenant,
                "data_dir": data_dir or before["data_dir"],
                "debug": debug or before["debug"],
            }
            if context.invoked_subcommand is not None:
                return
            settings = settings_of(context.obj["tenant"], context.obj["data_dir"])
            debug = context.obj["debug"]
            configure_logging("DEBUG" if debug else "WARNING" if quiet else settings.log_level)
            work = functools.partial(function, settings, **given)
            raise typer.Exit(program.run(work, serves=serves, debug=debug))

        taken = inspect.signature(function, eval_str=True).parameters
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in list(taken.values())[1:]]
        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        common = [
            inspect.Parameter(
                "tenant", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Tenant
            ),
            inspect.Parameter(
                "data_dir", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=DataDir
            ),
            inspect.Parameter(
                "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug
            ),
        ]
        parameters = [context, *own, *common]
        # Typer asks both of these what the command takes.
        run_it.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run_it.__annotations__ = {one.name: one.annotation for one in parameters}
        # `functools.wraps` would let it look at the function behind.
        del run_it.__wrapped__
        if name is None:
            group.callback(invoke_without_command=True)(run_it)
        else:
            group.command(name)(run_it)
        return function

    return register


def settings_of(tenant: str | None, data_dir: Path | None) -> Settings:
    """The settings from the environment, with what the options say instead. Wrong ones end the
    command as wrong usage, naming the variable."""
    given: dict[str, Any] = {"tenant": tenant, "data_dir": data_dir}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        check_tenant_id(settings.tenant)
    except ValidationError as error:
        # Without the value: it may be a secret.
        wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
        variable = f"CONFIGTRAIL_{'_'.join(map(str, wrong['loc'])).upper()}"
        raise typer.BadParameter(f"{variable}: {wrong['msg']}") from None
    except InvalidInput as error:
        raise typer.BadParameter(f"tenant: {error.rule}") from None
    return settings


command(app, "up", serves=True, quiet=False)(up)
command(app, "demo", serves=True)(demo)
command(app, "import")(import_folder)
registered = typer.Typer(rich_markup_mode=None, help="Devices, and where their settings come from.")
app.add_typer(registered, name="devices")
command(registered)(devices)
command(registered, "show")(show_device)
command(app, "fleet")(fleet)
command(app, "history")(history)
command(app, "show")(show)
command(app, "diff")(diff)
command(app, "trigger")(trigger)
command(app, "recanonicalise")(recanonicalise)
command(app, "witness", serves=True)(witness)
command(app, "replay")(replay)
command(app, "doctor")(doctor)
command(app, "collect")(collect)
command(app, "collector", serves=True, quiet=False)(collector)

command(app, "erase")(erase)
command(app, "rotate-master-key")(rotate_master_key)
command(app, "rotate-tenant-key")(rotate_tenant_key)

retention = typer.Typer(rich_markup_mode=None, help="How long texts are kept.")
app.add_typer(retention, name="retention")
command(retention)(show_retention)
command(retention, "show")(show_retention)
command(retention, "set")(set_retention)
command(retention, "hold")(place_hold)
command(retention, "release")(release_hold)
command(retention, "run")(run_retention)

inventory = typer.Typer(rich_markup_mode=None, help="Which devices are collected, and how.")
app.add_typer(inventory, name="inventory")
command(inventory)(list_inventory)
command(inventory, "list")(list_inventory)
command(inventory, "apply")(apply_inventory)
command(inventory, "set")(set_device)
command(inventory, "remove")(remove_device)

groups = typer.Typer(rich_markup_mode=None, help="What groups of devices give their devices.")
app.add_typer(groups, name="groups")
command(groups)(list_groups)
command(groups, "list")(list_groups)
command(groups, "set")(set_group)
command(groups, "change")(change_group)
command(groups, "remove")(remove_group)

credentials = typer.Typer(rich_markup_mode=None, help="Stored credentials of devices.")
app.add_typer(credentials, name="credentials")
command(credentials)(list_credentials)
command(credentials, "list")(list_credentials)
command(credentials, "set")(set_credential)
command(credentials, "remove")(remove_credential)

keys = typer.Typer(rich_markup_mode=None, help="Who may use the API.")
app.add_typer(keys, name="keys")
command(keys)(list_keys)
command(keys, "list")(list_keys)
command(keys, "create")(create_key)
command(keys, "revoke")(revoke_key)

accounts = typer.Typer(rich_markup_mode=None, help="Tenants with a NATS account of their own.")
app.add_typer(accounts, name="accounts")
command(accounts)(list_accounts)
command(accounts, "add")(add_accounts)
command(accounts, "remove")(remove_account)
command(accounts, "show")(show_account)
command(accounts, "mirror")(mirror)

host_keys = typer.Typer(rich_markup_mode=None, help="Host keys of devices.")
app.add_typer(host_keys, name="hostkeys")
command(host_keys)(list_host_keys)
command(host_keys, "list")(list_host_keys)
command(host_keys, "release")(release_host_key)

audits = typer.Typer(rich_markup_mode=None)
app.add_typer(audits, name="audit")
command(audits)(audit)
for name, one in auditing.COMMANDS.items():
    command(audits, name)(one)

letters = typer.Typer(rich_markup_mode=None)
app.add_typer(letters, name="deadletters")
command(letters)(list_letters)
command(letters, "show")(show_letter)
command(letters, "retry")(retry_letter)

read_models = typer.Typer(rich_markup_mode=None, help="How the read models stand; rebuild, verify.")
app.add_typer(read_models, name="projections")
command(read_models)(status)
command(read_models, "status")(status)
command(read_models, "rebuild")(rebuild)
command(read_models, "verify")(verify_rows)
parked = typer.Typer(rich_markup_mode=None)
read_models.add_typer(parked, name="parked")
command(parked)(list_parked)
command(parked, "list")(list_parked)
command(parked, "retry")(retry_parked)
command(parked, "skip")(skip_parked)
