"""Read names and docstrings out of source files, so that listing them imports nothing heavy."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

Definition = ast.ClassDef | ast.FunctionDef


def locate(module: str) -> Path | None:
    """Return the file (or, for a package, the folder) of a module without importing it."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    if path.is_dir():
        return path
    file = path.with_suffix(".py")
    return file if file.is_file() else None


def files(package: str) -> list[str]:
    """Return the member files of a family's package, sorted, without ``base`` and ``_private``."""
    folder = locate(package)
    if folder is None or not folder.is_dir():
        return []
    stems = sorted(path.stem for path in folder.glob("*.py"))
    return [stem for stem in stems if not stem.startswith("_") and stem != "base"]


def member(module: str, stem: str) -> str | None:
    """Return the class (or function) that a member file is about.

    It is the one whose name, lower-cased and without underscores, equals the file's:
    ``simclr.py`` holds ``SimCLR``, ``linear_probe.py`` holds ``LinearProbe``. A protocol's file
    may instead hold a function named ``evaluate``.
    """
    wanted = stem.replace("_", "")
    definitions = [node for node in _tree(module).body if isinstance(node, Definition)]
    for node in sorted(definitions, key=lambda node: isinstance(node, ast.FunctionDef)):
        if node.name.lower().replace("_", "") == wanted:
            return node.name
    return "evaluate" if any(node.name == "evaluate" for node in definitions) else None


def table(module: str, name: str) -> dict[str, ast.expr] | None:
    """Return a module's literal dict as ``{key: expression}``, or None where it is not literal."""
    value = _assigned(module, name)
    if not isinstance(value, ast.Dict):
        return None
    keys = [key.value if isinstance(key, ast.Constant) else None for key in value.keys]
    if not all(isinstance(key, str) for key in keys):
        return None
    return {str(key): entry for key, entry in zip(keys, value.values, strict=True)}


def table_summary(module: str, name: str, key: str) -> str:
    """Return the docstring line of a table's entry, as far as the source tells."""
    entry = (table(module, name) or {}).get(key)
    if isinstance(entry, ast.Constant) and isinstance(entry.value, str) and ":" in entry.value:
        return summary(*entry.value.split(":", 1))
    return summary(module, entry.id) if isinstance(entry, ast.Name) else ""


def summary(module: str, name: str) -> str:
    """Return the first line of the docstring of ``module:name``, following imports."""
    found = _find(module, name)
    text = ast.get_docstring(found) if isinstance(found, Definition) else None
    return " ".join(text.split("\n\n")[0].split()) if text else ""


def _assigned(module: str, name: str) -> ast.expr | None:
    found = _find(module, name)
    return found.value if isinstance(found, ast.Assign | ast.AnnAssign) else None


def _find(module: str, name: str, depth: int = 0) -> ast.stmt | None:
    """Return the statement that defines a name, following ``from x import name`` a few times."""
    for node in _tree(module).body:
        if isinstance(node, Definition) and node.name == name:
            return node
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node
        if isinstance(node, ast.ImportFrom) and depth < 4:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(_origin(module, node), alias.name, depth + 1)
    return None


def _origin(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    path = locate(module)
    parts = module.split(".")
    keep = len(parts) - node.level + (1 if path is not None and path.is_dir() else 0)
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _tree(module: str) -> ast.Module:
    path = locate(module)
    if path is not None and path.is_dir():
        path = path / "__init__.py"
    if path is None or not path.is_file():
        return ast.Module([], [])
    return _parse(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _parse(path: Path, _changed: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
