"""`make contract`: write the contract's generated files, unless that would break a reader."""

from __future__ import annotations

import sys

import yaml

from adapters.contract.published import (
    FOLDER,
    INDEX,
    IncompatibleSchema,
    PublishedLost,
    as_text,
    contract,
    index_of,
)


def main() -> int:
    """Write the files; 1 when a published schema would change incompatibly."""
    try:
        schemas, document = contract()
    except (IncompatibleSchema, PublishedLost) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name, schema in schemas.items():
        (FOLDER / "schemas" / f"{name}.json").write_text(as_text(schema))
    (FOLDER / INDEX).write_text(as_text(index_of(schemas)))
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    header = "# Generated from the code by `make contract`; a test compares.\n"
    (FOLDER / "asyncapi.yaml").write_text(header + text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
