"""Which changes of a published schema are no change to anybody who reads by it.

A reader of the old schema must understand every new event, and today's code every old one. So the
only change is a new optional property; words may change freely.
"""

from __future__ import annotations

from adapters.contract.schemas import Schema

_WORDS = ("$schema", "$id", "title", "description")


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """What of the change breaks somebody; empty when it is compatible."""
    return _compared(old, new, old.get("$defs", {}), new.get("$defs", {}), "")


def _compared(
    old: Schema, new: Schema, old_defs: Schema, new_defs: Schema, where: str
) -> list[str]:
    if "$ref" in old and old.get("$ref") == new.get("$ref"):
        name = old["$ref"].rpartition("/")[2]
        old, new = old_defs[name], new_defs[name]
    if "anyOf" in old and "anyOf" in new and len(old["anyOf"]) == len(new["anyOf"]):
        return [
            found
            for one, other in zip(old["anyOf"], new["anyOf"], strict=True)
            for found in _compared(one, other, old_defs, new_defs, where)
        ]
    found = []
    properties = ("properties", "required", "items", "$defs", *_WORDS)
    for key in sorted({*old, *new} - {*properties}):
        if old.get(key) != new.get(key):
            found.append(f"{where or 'the event'}: {key} was {old.get(key)} and is {new.get(key)}")
    if "items" in old or "items" in new:
        found += _compared(
            old.get("items", {}), new.get("items", {}), old_defs, new_defs, f"{where}[]"
        )
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before:
        path = f"{where}.{name}".removeprefix(".")
        if name not in after:
            found.append(f"{path}: it is gone")
        else:
            found += _compared(before[name], after[name], old_defs, new_defs, path)
    must, now = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(now - must):
        path = f"{where}.{name}".removeprefix(".")
        found.append(f"{path}: events that are stored already may lack it, and now it is required")
    for name in sorted(must - now):
        path = f"{where}.{name}".removeprefix(".")
        found.append(f"{path}: readers rely on it, and now it is optional")
    return found
