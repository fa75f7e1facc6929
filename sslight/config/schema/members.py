"""Families as JSON Schema: a name decides which keys its node takes."""

from __future__ import annotations

import json
from typing import Any

from sslight import registry
from sslight.config.schema.described import plain
from sslight.config.schema.types import LATER_REF, Schema, Types, any_of

#: Names that no list holds: a trusted class; timm's models; Lightning's public callbacks.
_OTHERS = {"backbone": "^timm/|:", "callback": "^[A-Z]|:"}
_TRUSTED = ":"
#: Families with so many names that a line for each would be most of the file.
_TERSE = ("backbone",)


class Members:
    """The families' definitions, each made once."""

    def __init__(self) -> None:
        self.types = Types(self.family)

    def reference(self, family: str) -> Schema:
        """Return a reference to the schema of a family's member."""
        return self.types.define(family, lambda: self.family(family))

    def family(self, family: str) -> Schema:
        """Return the schema of a member: its name, or a mapping with ``name`` and its keys."""
        groups = self._groups(family)
        name = self._names(family)
        rules = [_when(names, ref) for names, ref in groups]
        if family == "backbone":
            rules.append(self._timm())
        keys = {key for _, ref in groups for key in self._keys(ref)}
        unnamed = {"propertyNames": {"enum": sorted(keys)}}
        return {
            "type": ["string", "object"],
            "if": {"type": "string"},
            "then": name,
            "properties": {"name": name},
            "allOf": [*rules, {"if": {"type": "object", "not": _HAS_NAME}, "then": unnamed}],
        }

    def labelled(self, family: str) -> Schema:
        """Return the schema of a mapping from labels to members; a label is the default name."""
        known = {name: self._labelled(family, name) for name in registry.names(family)}
        return {
            "type": ["object", "null"],
            "properties": known,
            "additionalProperties": any_of([self.reference(family), {"type": "null"}]),
        }

    def _labelled(self, family: str, name: str) -> Schema:
        """A node whose label is a member's name: that member's keys, unless it names another."""
        schema = {
            "type": ["object", "string", "null"],
            "if": {"type": "object", "not": _HAS_NAME},
            "then": self.member(family, name),
            "else": any_of([self.reference(family), {"type": "null"}]),
        }
        return {"description": plain(registry.summary(family, name)), **schema}

    def member(self, family: str, name: str) -> Schema:
        """Return a reference to the keys of one member."""
        thing = registry.resolve(family, name)
        label = f"{family}.{name.replace('/', '.')}"  # a slash would part a reference
        return self.types.define(label, lambda: self.types.arguments(family, thing, "name"))

    def _groups(self, family: str) -> list[tuple[list[str], Schema]]:
        """Return names that take the same keys together, with a reference to these."""
        groups: dict[str, tuple[list[str], Schema]] = {}
        for name in registry.names(family):
            schema = self.types.arguments(family, registry.resolve(family, name), "name")
            same = json.dumps(schema, sort_keys=True)
            if same not in groups:
                groups[same] = ([], self.member(family, name))
            groups[same][0].append(name)
        return list(groups.values())

    def _names(self, family: str) -> Schema:
        names = registry.names(family)
        if family in _TERSE:
            known: list[Schema] = [{"enum": names}]
        else:
            known = [
                {"const": name, "description": plain(registry.summary(family, name))}
                for name in names
            ]
        others = {"type": "string", "pattern": _OTHERS.get(family, _TRUSTED)}
        return any_of([*known, others, LATER_REF])

    def _keys(self, reference: Schema) -> list[str]:
        definition = self.types.definitions[reference["$ref"].rpartition("/")[2]]
        return list(definition["properties"])

    def _timm(self) -> Schema:
        named = {"properties": {"name": {"type": "string", "pattern": "^timm/"}}}
        return {
            "if": {"type": "object", **_HAS_NAME, **named},
            "then": self.member("backbone", "timm/resnet18"),
        }


_HAS_NAME: dict[str, Any] = {"required": ["name"]}


def _when(names: list[str], reference: Schema) -> Schema:
    """Apply a member's keys where the name is one of these."""
    one = {"const": names[0]} if len(names) == 1 else {"enum": names}
    return {"if": {"type": "object", **_HAS_NAME, "properties": {"name": one}}, "then": reference}
