"""sslight's own members of a family, imported when they are asked for."""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

from sslight.registry import scan
from sslight.registry.families import Family


def names(family: Family) -> list[str]:
    """Return the built-in names; reads source files, imports nothing if the table is literal."""
    if family.table is None:
        return [stem for stem in scan.files(family.home) if _attribute(family, stem)]
    if family.home not in sys.modules:
        literal = scan.table(family.home, family.table)
        if literal is not None:
            return list(literal)
    return list(_live_table(family))


def summary(family: Family, name: str) -> str:
    """Return one line about a built-in, from its docstring."""
    if family.table is None:
        return scan.summary(f"{family.home}.{name}", _attribute(family, name) or "")
    entry = None if _literal(family) else _live_table(family).get(name)
    if isinstance(entry, str):
        return scan.summary(*entry.split(":", 1))
    line = scan.table_summary(family.home, family.table, name)
    return line or _first_line(find(family, name))


def _literal(family: Family) -> bool:
    return scan.table(family.home, family.table or "") is not None


def find(family: Family, name: str) -> Any | None:
    """Return the built-in class or function, or None where the family has no such member."""
    if family.table is None:
        attribute = _attribute(family, name) if name in scan.files(family.home) else None
        if attribute is None:
            return None
        return getattr(importlib.import_module(f"{family.home}.{name}"), attribute)
    if family.name == "backbone":
        return _backbone(family, name)
    entry = _live_table(family).get(name)
    if isinstance(entry, str):
        module, _, attribute = entry.partition(":")
        return getattr(importlib.import_module(module), attribute)
    if entry is None and family.name == "optimizer":
        return _torch_optimizer(name)
    return entry


def _attribute(family: Family, stem: str) -> str | None:
    return scan.member(f"{family.home}.{stem}", stem)


def _live_table(family: Family) -> dict[str, Any]:
    if family.table is None or scan.locate(family.home) is None:
        return {}
    module = importlib.import_module(family.home)
    return dict(getattr(module, family.table, {}))


def _backbone(family: Family, name: str) -> Any | None:
    """Return what builds a backbone: ours and torchvision's by bare name, timm's by ``timm/``."""
    if name not in names(family) and not name.startswith("timm/"):
        return None
    return importlib.import_module(family.home).builder(name)


def _torch_optimizer(name: str) -> Any | None:
    import torch

    found = getattr(torch.optim, name, None)
    base = torch.optim.Optimizer
    is_one = inspect.isclass(found) and issubclass(found, base) and found is not base
    return found if is_one else None


def _first_line(thing: object) -> str:
    text = inspect.getdoc(thing)
    return " ".join(text.split("\n\n")[0].split()) if text else ""
