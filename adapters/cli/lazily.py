"""How a command of `commands` becomes one of Typer's, when it is asked for."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from pydantic import ValidationError
from typer.core import TyperGroup
from typer.main import get_command

from adapters.cli import program
from adapters.cli.commands import Command
from adapters.observability.logging import configure_logging
from adapters.settings import Settings, without_effect
from domain.errors import InvalidInput
from domain.ids import check_tenant_id

log = logging.getLogger(__name__)

Function = Callable[..., Coroutine[Any, Any, int]]

Tenant = Annotated[str | None, typer.Option("--tenant", help="Whose devices.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the data lies.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]
# What every command takes, besides what is its own: before and after its name.
_COMMON = {"tenant": (Tenant, None), "data_dir": (DataDir, None), "debug": (Debug, False)}


class _Made(Mapping[str, Any]):
    """Typer's commands by name, each imported and made when it is asked for."""

    def __init__(self, later: Mapping[str, Command]) -> None:
        self._later = later

    def __getitem__(self, name: str) -> Any:
        return made(name, self._later[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._later)

    def __len__(self) -> int:
        return len(self._later)


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and lines, and makes one when it is asked for."""

    later: ClassVar[Mapping[str, Command]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Typer looks there for a command, and for names that are like a mistyped one.
        self.commands = _Made(self.later)  # type: ignore[assignment]  # nothing is added to it

    def list_commands(self, ctx: object) -> list[str]:
        """The names, in the order of the list."""
        return list(self.later)

    def format_commands(self, ctx: object, formatter: Any) -> None:
        """Each command's line, without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.line) for name, one in self.later.items()])


def group_of(commands: Mapping[str, Command]) -> type[LazyGroup]:
    """The class of a group with these commands: Typer makes the instance."""
    return type("Group", (LazyGroup,), {"later": commands})


def function_of(command: Command) -> Function:
    """The function of a command, from its module, which is imported."""
    module, name = command.at.split(":")
    found: Function = getattr(importlib.import_module(f"adapters.cli.{module}"), name)
    return found


def made(name: str, command: Command) -> Any:
    """Typer's own command, or group of commands, of this name."""
    app = typer.Typer(
        name=name, rich_markup_mode=None, add_completion=False, cls=group_of(command.commands)
    )
    run_it = _run_of(command)
    if command.commands:
        app.callback(invoke_without_command=True)(run_it)
    else:
        app.command(name)(run_it)
    return get_command(app)


def _run_of(command: Command) -> Callable[..., None]:
    """What Typer calls: it puts the settings together and runs the function as a program."""
    function = function_of(command)

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
        configure_logging("DEBUG" if debug else "WARNING" if command.quiet else settings.log_level)
        for name, meant in without_effect(os.environ).items():
            maybe = f": did you mean {meant}?" if meant else ""
            log.warning("the variable %s is no setting, and has no effect%s", name, maybe)
        work = functools.partial(function, settings, **given)
        raise typer.Exit(program.run(work, serves=command.serves, debug=debug))

    taken = inspect.signature(function, eval_str=True).parameters
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in list(taken.values())[1:]]
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    common = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in _COMMON.items()
    ]
    parameters = [context, *own, *common]
    # Typer asks both of these what the command takes.
    run_it.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run_it.__annotations__ = {one.name: one.annotation for one in parameters}
    # `functools.wraps` would let it look at the function behind.
    del run_it.__wrapped__
    return run_it


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
