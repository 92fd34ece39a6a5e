"""The application: its options, and the commands of `commands`."""

from __future__ import annotations

import typer

from adapters.cli.commands import COMMANDS
from adapters.cli.lazily import DataDir, Debug, Tenant, group_of

app = typer.Typer(
    name="configtrail",
    cls=group_of(COMMANDS),
    help="The configuration history of network devices.",
    epilog="Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 a server can't be reached.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    context: typer.Context, tenant: Tenant = None, data_dir: DataDir = None, debug: Debug = False
) -> None:
    """The configuration history of network devices."""
    context.obj = {"tenant": tenant, "data_dir": data_dir, "debug": debug}
