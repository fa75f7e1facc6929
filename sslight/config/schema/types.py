"""Annotations as JSON Schema."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sslight import registry
from sslight.config import hints
from sslight.config.schema.described import described, plain

Schema = dict[str, Any]

#: What is filled in later: ``???``, and interpolations.
LATER: Schema = {"type": "string", "pattern": r"^\?\?\?$|\$\{"}
#: Scalars, as the config's reader takes them.
SCALARS: dict[Any, tuple[str, Schema]] = {
    bool: ("yes_or_no", {"type": "boolean"}),
    int: ("integer", {"type": "integer"}),
    float: ("number", {"type": "number"}),
    str: ("text", {"type": ["string", "number", "boolean"]}),
    Path: ("text", {"type": ["string", "number", "boolean"]}),
}


class Types:
    """Turns annotations into schemas, collecting the definitions they refer to.

    Args:
        family: Returns the definition of a family's members, made when it is first needed.
    """

    def __init__(self, family: Callable[[str], Schema]) -> None:
        self._family = family
        self.definitions: dict[str, Schema] = {"later": LATER}

    def of(self, hint: Any) -> Schema:
        """Return the schema of an annotation; an empty one allows anything."""
        options = hints.options(hint)
        if any(option in (Any, object, inspect.Parameter.empty) for option in options):
            return {}
        found = [schema for option in options if (schema := self._one(option)) is not None]
        return any_of(found)

    def arguments(self, family: str | None, thing: Any, *also: str) -> Schema:
        """Return the schema of keyword arguments; ``also`` are keys that are not the thing's."""
        said = described(thing)
        properties: dict[str, Schema] = {key: {} for key in also}
        for name, part in registry.signature(family, thing).items():
            properties[name] = with_description(self.of(part.annotation), said.get(name, ""))
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def define(self, name: str, make: Callable[[], Schema]) -> Schema:
        """Return a reference to a definition, made when it is first needed."""
        if name not in self.definitions:
            self.definitions[name] = {}  # a schedule may hold schedules
            self.definitions[name] = make()
        return {"$ref": f"#/definitions/{name}"}

    def _one(self, option: Any) -> Schema | None:
        """Return the schema of one alternative; None where only Python can give it."""
        kind = hints.origin(option)
        if option is type(None):
            return {"type": "null"}
        if hints.is_literal(option):
            return any_of([{"enum": list(typing.get_args(option))}, LATER_REF])
        if kind in SCALARS:
            name, schema = SCALARS[kind]
            return self.define(name, lambda: any_of([schema, LATER_REF]))
        if kind in hints.SEQUENCES:
            return self._sequence(option)
        if kind in hints.MAPPINGS:
            entries = self.of((typing.get_args(option) or (str, Any))[1])
            return {"type": "object", "additionalProperties": entries or True}
        if (family := hints.family(option)) is not None:
            return self.define(family, lambda: self._family(family))
        if hints.is_record(option):
            return self.define(option.__name__, lambda: self.arguments(None, option))
        return None

    def _sequence(self, option: Any) -> Schema:
        parts = typing.get_args(option) or (Any,)
        items = self.of(parts[0])
        schema: Schema = {"type": "array"} | ({"items": items} if items else {})
        if hints.origin(option) is tuple and Ellipsis not in parts:
            schema |= {"minItems": len(parts), "maxItems": len(parts)}
            if len(set(parts)) > 1:
                schema["items"] = [self.of(part) for part in parts]
        return any_of([schema, LATER_REF])


LATER_REF: Schema = {"$ref": "#/definitions/later"}


def any_of(schemas: list[Schema]) -> Schema:
    """Join alternatives, flat and without repetition."""
    flat = [part for schema in schemas for part in schema.get("anyOf", [schema])]
    parts = list({json.dumps(part, sort_keys=True): part for part in flat}.values())
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def with_description(schema: Schema, text: str) -> Schema:
    """Add a description; beside ``$ref`` draft 7 would not read it."""
    if not text:
        return schema
    body = {"allOf": [schema]} if "$ref" in schema else schema
    return {"description": plain(text), **body}
