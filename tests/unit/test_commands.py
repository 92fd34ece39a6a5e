"""The list of commands: all can be made, each has a line that fits, and a list imports none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from adapters.cli.commands import COMMANDS, Command
from adapters.cli.lazily import function_of, made


def _all(commands: Mapping[str, Command], before: str = "") -> Iterator[tuple[str, Command]]:
    for name, one in commands.items():
        yield before + name, one
        yield from _all(one.commands, f"{before}{name} ")


EVERY = dict(_all(COMMANDS))


@pytest.mark.parametrize("name", EVERY)
def test_a_command_is_made_of_its_function(name: str) -> None:
    command = made(name.split(" ")[-1], EVERY[name])
    assert command.name == name.split(" ")[-1]
    documented = function_of(EVERY[name]).__doc__
    assert documented is not None
    assert command.help.split() == documented.split()
    options = {one for each in command.params for one in each.opts}
    assert {"--tenant", "--data-dir", "--debug"} <= options


def test_each_line_fits_a_terminal() -> None:
    widest = max(len(name) for name in COMMANDS)
    for name, one in EVERY.items():
        assert len(one.line) <= 80 - widest - 4, name
        assert not one.line.endswith("."), name


@pytest.mark.parametrize(
    ("words", "meant"), [(["devcies"], "devices"), (["audit", "verfy"], "verify")]
)
def test_a_mistyped_command_is_told_with_what_may_be_meant(words: list[str], meant: str) -> None:
    program = [sys.executable, "-c", "from adapters.cli.app import app; app()", *words]
    ran = subprocess.run(program, capture_output=True, text=True)
    assert ran.returncode == 2
    assert f"No such command '{words[-1]}'. Did you mean " in ran.stderr
    assert f"'{meant}'" in ran.stderr


def test_what_lists_the_commands_imports_none_of_them() -> None:
    look = (
        "import sys\n"
        "from adapters.cli.app import app\n"
        "try:\n"
        "    app(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('fastapi', 'asyncssh', 'pygit2')])\n"
    )
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    *told, last = ran.stdout.splitlines()
    assert last == "[]"
    for name, one in COMMANDS.items():
        assert any(line.split() == [name, *one.line.split()] for line in told), name
