"""What answers are made of: structs, encoded as they are, and described like pydantic's models.

They are made by this program alone, so nothing is checked when an answer is; a test holds that
answers fit their description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from msgspec import NODEFAULT, Raw, Struct, structs
from msgspec.json import Encoder, decode
from pydantic import GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema

T = TypeVar("T", bound="Out")

_ENCODER = Encoder()


class Out(Struct, gc=False):
    """What one kind of answer, or a part of one, holds."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """For the description of the API: a model of the same name with the same fields."""
        fields: dict[str, Any] = {
            one.name: (one.type, ... if one.default is NODEFAULT else one.default)
            for one in structs.fields(cls)
        }
        model = create_model(cls.__name__, __doc__=cls.__doc__, __module__=cls.__module__, **fields)
        return handler(model)


def json_of(body: object) -> bytes:
    """An answer, or some of them, as JSON."""
    return _ENCODER.encode(body)


def lines_of(bodies: Sequence[Out]) -> bytes:
    """A line of JSON for each."""
    return _ENCODER.encode_lines(list(bodies))


def as_json(items: Iterable[str], kind: type[T]) -> list[T]:
    """What is JSON of that kind already: it is only to be encoded, as it is."""
    return cast("list[T]", [Raw(one) for one in items])


def taken_apart(items: Iterable[Out], kind: type[Out]) -> list[Out]:
    """The same with their fields."""
    given: Iterable[object] = items
    return [decode(one, type=kind) if isinstance(one, Raw) else cast("Out", one) for one in given]
