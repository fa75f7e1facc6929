"""The whole schema: the top-level keys, the Trainer's, and the definitions behind them."""

from __future__ import annotations

import inspect
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sslight import registry
from sslight.config import trainer
from sslight.config.schema.described import described
from sslight.config.schema.members import Members
from sslight.config.schema.types import LATER_REF, Schema, any_of, with_description
from sslight.config.sections import SECTIONS, Settings, section_class
from sslight.utils import write_atomically

#: Sections that are a member of the family of the same name.
_MEMBERS = ("method", "train_step", "backbone")
_LABELLED = {"callbacks": "callback", "eval": "eval"}
_CLASSES = ("data", "optim", "extract")
_NULL: Schema = {"type": "null"}
_WIDTH = 140


def schema() -> Schema:
    """Return the schema of a config file (JSON Schema, draft 7)."""
    members = Members()
    sections = {key: _section(members, key) for key in SECTIONS}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"Written by `sslight schema`, with Lightning {version('pytorch-lightning')}.",
        "title": "A config of sslight",
        "type": ["object", "null"],
        "properties": {"_base_": _base(), **sections},
        "additionalProperties": False,
        "definitions": dict(sorted(members.types.definitions.items())),
    }


def schema_text() -> str:
    """Return the schema as text, the same for the same versions."""
    return _pretty(schema(), "") + "\n"


def write_schema(path: str | Path) -> None:
    """Write the schema to a file, atomically."""
    write_atomically(Path(path), schema_text().encode())


def _pretty(value: Any, indent: str) -> str:
    """Write JSON with short values on one line: a third of the lines that ``indent`` gives."""
    short = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(short) <= _WIDTH or not isinstance(value, dict | list):
        return short
    inner = f"{indent} "
    if isinstance(value, dict):
        parts = [f"{json.dumps(k)}: {_pretty(v, inner)}" for k, v in value.items()]
    else:
        parts = [_pretty(entry, inner) for entry in value]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    rows = f",\n{inner}".join(parts)
    return f"{begin}\n{inner}{rows}\n{indent}{end}"


def _base() -> Schema:
    one: Schema = {"type": "string"}
    said = "Configs to start from: a path relative to this file, or a shipped name."
    return with_description(any_of([one, {"type": "array", "items": one}]), said)


def _section(members: Members, key: str) -> Schema:
    if key in _MEMBERS:
        return any_of([members.reference(key), _NULL])
    if key in _LABELLED:
        return members.labelled(_LABELLED[key])
    if key == "trainer":
        return _trainer(members)
    if key in _CLASSES:
        return _class(members, key)
    part = registry.signature(None, Settings)[key]
    return with_description(members.types.of(part.annotation), described(Settings)[key])


def _class(members: Members, key: str) -> Schema:
    found = members.types.arguments(None, section_class(key))
    if key == "optim":
        said = found["properties"]["optimizer"].get("description", "")
        known: Schema = {"enum": registry.names("optimizer")}
        torchs: Schema = {"type": "string", "pattern": "^[A-Z]|:"}
        found["properties"]["optimizer"] = with_description(
            any_of([known, torchs, LATER_REF]), said
        )
    return {**found, "type": ["object", "null"]}


# -------------------------------------------------------------------- Lightning's Trainer


def _trainer(members: Members) -> Schema:
    import pytorch_lightning as pl

    said = {key: _first_sentence(text) for key, text in described(_documented(pl.Trainer)).items()}
    properties: dict[str, Schema] = {}
    for name, part in registry.signature(None, pl.Trainer).items():
        if name in trainer.OURS:
            continue
        found = _special(members, name)
        found = members.types.of(part.annotation) if found is None else found
        properties[name] = with_description(found, said.get(name, ""))
    return {
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }


def _documented(thing: Any) -> Any:
    """Return what has the ``Args``: Lightning documents the constructor."""
    return thing.__init__ if "Args:" in (inspect.getdoc(thing.__init__) or "") else thing


def _special(members: Members, name: str) -> Schema | None:
    """Return the schema of a key that sslight reads in its own way."""
    if name == "sync_batchnorm":
        return members.types.of(bool | int)
    if name == "accelerator":
        return any_of([{"enum": trainer.accelerators()}, LATER_REF])
    if name not in trainer.HOMES:
        return None
    names = trainer.known(name)
    node: Schema = {"type": "object", "properties": {"name": {"enum": names}}}
    one = any_of([{"enum": names}, node, _NULL, LATER_REF])
    if name != "logger":
        return one
    return any_of([one, {"type": "boolean"}, {"type": "array", "items": one}])


def _first_sentence(text: str) -> str:
    head, stop, _ = text.partition(". ")
    return head + stop.strip()
