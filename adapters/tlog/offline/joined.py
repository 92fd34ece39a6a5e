"""The verifier as one file, which needs nothing but Python: its parts, one after another."""

from __future__ import annotations

import inspect
import re
from typing import Final

from adapters.tlog.offline import bundle, ed25519, notes, program, trees

_PARTS: Final = (ed25519, trees, notes, bundle, program)
_IMPORT = re.compile(r"^(?:import|from) [^(\n]*(?:\([^)]*\))?\n", re.M)
_OF_OURS = ("from __future__", "from adapters")


def verifier() -> str:
    """The file's text: what it is, what it imports, and the code of the parts as it stands."""
    imports: set[str] = set()
    code: list[str] = []
    for part in _PARTS:
        _, told, source = inspect.getsource(part).split('"""', 2)
        imports.update(one for one in _IMPORT.findall(source) if not one.startswith(_OF_OURS))
        heading = "" if part is program else f"# --- {told} ---\n"
        code.append(heading + _IMPORT.sub("", source).strip() + "\n")
    head = (
        f'#!/usr/bin/env python3\n"""{program.__doc__}"""\n\nfrom __future__ import annotations\n\n'
    )
    return (
        head
        + "".join(sorted(imports, key=lambda one: (one[0] == "f", one)))
        + "\n"
        + "\n\n".join(code)
    )
