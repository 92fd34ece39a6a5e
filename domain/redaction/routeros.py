"""Where the secrets of RouterOS stand."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from domain.errors import NotUnderstood
from domain.redaction.hashing import Redactor
from domain.redaction.inside import redact_inside, redact_inside_value
from domain.redaction.properties import is_secret
from domain.routeros.statements import Property, Statement, parse, render
from domain.routeros.vocabulary import SCRIPTS

# How some menus write that there is none, or that it is what the name is.
_UNSET: Final = frozenset(("none", "same-as-user"))


def redact_value(menu: str, name: str, value: str, redactor: Redactor) -> str:
    """A property's value as written, without what is secret in it."""
    if is_secret(menu, name):
        return value if value in _UNSET else redactor.secret(value)
    script = name.rpartition(".")[2] in SCRIPTS
    return redact_inside_value(value, redactor.meant, script=script)


def redact_statement(menu: str, statement: Statement, redactor: Redactor) -> Statement:
    """A statement without its secrets; itself when it has none."""
    properties = tuple(_redacted(menu, one, redactor) for one in statement.properties)
    selector = statement.selector
    if selector:
        selector = _redacted_selector(menu, selector, redactor)
    if properties == statement.properties and selector == statement.selector:
        return statement
    return replace(statement, properties=properties, selector=selector)


def redact_line(menu: str, line: str, redactor: Redactor) -> str:
    """A logical line, with or without its menu's path, without its secrets.

    A line that is not understood is hidden as a whole: nobody knows what is secret in it.
    """
    try:
        statement = parse(line)
    except NotUnderstood:
        return redactor.hidden(line)
    shown = redact_statement(menu, statement, redactor)
    return line if shown is statement else render(shown)


def _redacted(menu: str, one: Property, redactor: Redactor) -> Property:
    if one.value is None:
        return one
    value = redact_value(menu, one.name, one.value, redactor)
    return one if value == one.value else replace(one, value=value)


def _redacted_selector(menu: str, selector: str, redactor: Redactor) -> str:
    return redact_inside(selector, redactor.meant, menu, script=True, selector=True)
