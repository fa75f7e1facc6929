"""Fill the generated parts of README.md and docs/: keys from signatures, names from the registry.

docs/method_reference.md is written whole, from the docstrings of the methods, and so is
configs/schema.json, from every signature. Elsewhere a table stands between ``<!-- keys: data -->``
or ``<!-- list: methods -->`` and ``<!-- end -->``.
Run ``python scripts/docs_tables.py`` after changing a signature; the tests say when that is due.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

from sslight import ViewSpec, registry
from sslight.config import hints
from sslight.config.schema import write_schema
from sslight.config.schema.described import described, plain
from sslight.config.sections import Settings, section_class
from sslight.registry.listing import listing
from sslight.schedules import Schedule
from sslight.strategies import STRATEGIES

REPOSITORY = Path(__file__).parents[1]
REFERENCE = REPOSITORY / "docs" / "method_reference.md"
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
LONG = re.compile(r"a mapping with ((?:\w+, ){4}\w+)(?:, \w+\b(?! \{))+")
TABLE = re.compile(r"<!-- (keys|list): (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


def main() -> None:
    """Write the reference, every table and the schema for editors anew."""
    write_schema(REPOSITORY / "configs" / "schema.json")
    REFERENCE.write_text(reference(), encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(TABLE.sub(_whole, text), encoding="utf-8")


def reference() -> str:
    """Return the page that says of every method what it computes and which keys it takes."""
    parts = [
        "# The methods, one by one",
        "Written by `python scripts/docs_tables.py` from the docstrings. Recipes are in\n"
        "`configs/<method>/`; how each method learns is in [methods.md](methods.md).",
    ]
    for name in registry.names("method"):
        method = registry.resolve("method", name)
        parts += [f"## {name}", _prose(method)]
        if registry.signature("method", method):
            parts.append(f"<!-- keys: method/{name} -->\n{keys(f'method/{name}')}\n<!-- end -->")
    return "\n\n".join(parts) + "\n"


def _prose(thing: Any) -> str:
    """Return a docstring without its ``Args``, as Markdown."""
    text = re.sub(r"^Args:\n(?:(?: .*)?\n)*", "", f"{inspect.getdoc(thing)}\n", flags=re.MULTILINE)
    return plain(inspect.cleandoc(text).replace("\n    ", "\n"))


def _whole(found: re.Match[str]) -> str:
    kind, name, _ = found.groups()
    return f"<!-- {kind}: {name} -->\n{table(kind, name)}\n<!-- end -->"


def table(kind: str, name: str) -> str:
    """Return a Markdown table: the members of a section, or the keys of a class."""
    return listing(name, markdown=True) if kind == "list" else keys(name)


def keys(name: str) -> str:
    """Return the keys of a section (``data``) or of a family's member (``source/folder``)."""
    family, thing = _thing(name)
    said = described(thing)
    rows = ["| key | takes | default | |", "|---|---|---|---|"]
    for key, part in registry.signature(family, thing).items():
        takes = _cell(LONG.sub(r"a mapping with \1, ...", hints.describe(part.annotation)))
        rows.append(f"| `{key}` | {takes} | {_default(part)} | {_cell(said.get(key, ''))} |")
    return "\n".join(rows)


def _thing(name: str) -> tuple[str | None, Any]:
    family, slash, member = name.partition("/")
    if name == "viewspec":
        return None, ViewSpec
    if family == "strategy":
        return None, STRATEGIES[member]
    if slash:
        return family, registry.resolve(family, member)
    return None, Settings if name == "top" else section_class(name)


def _default(part: inspect.Parameter) -> str:
    value = part.default
    if value is inspect.Parameter.empty:
        return "must be given"
    if isinstance(value, bool) or value is None:
        return f"`{str(value).lower()}`".replace("`none`", "`null`")
    if isinstance(value, Schedule):
        return f"`{_yaml(value)}`"
    if callable(value) or repr(value).startswith("<"):
        return "`{}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _yaml(value: Any) -> str:
    """Write a schedule, or what it is made of, as a config does."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if not isinstance(value, Schedule):
        return str(value)
    told = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "per"}
    told |= {} if value.per == "step" else {"per": value.per}
    text = ", ".join(f"{name}: {_yaml(part)}" for name, part in told.items())
    return f"{{name: {type(value).__name__.lower()}, {text}}}"


def _cell(text: str) -> str:
    return re.sub(r"\bNone\b", "null", plain(text).replace("|", "\\|"))


if __name__ == "__main__":
    main()
