"""YAML text to plain dicts and lists, remembering the line of every key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from sslight.config.errors import ConfigError, Problem
from sslight.config.scalars import MISSING, from_text

_TAG = "tag:yaml.org,2002:"


@dataclass
class Document:
    """A parsed file: the tree, and ``file:line`` of each full key in it."""

    tree: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)


def parse(text: str, file: str) -> Document:
    """Parse one YAML document, whose top must be a mapping.

    Raises:
        ConfigError: A syntax error, a repeated key or a Python tag, each with file and line.
    """
    node = _compose(text, file)
    walk = _Walk(file)
    tree = {} if node is None else walk.value(node, "")
    if walk.problems:
        raise ConfigError(walk.problems)
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError([Problem("", "the file must hold keys, `method: ...`.", file)])
    return Document(tree or {}, walk.origins)


def parse_value(text: str) -> Any:
    """Read the right side of an override: a flow list or mapping, a quoted text or a scalar.

    Raises:
        ValueError: The brackets or quotes are broken.
    """
    if not text.startswith(("[", "{", '"', "'")):
        return from_text(text)
    try:
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise ValueError(_problem(error)) from error
    walk = _Walk("")
    value = None if node is None else walk.value(node, "")
    if walk.problems:
        raise ValueError(walk.problems[0].message.rstrip("."))
    return value


class _Loader(yaml.SafeLoader):
    """Reads a bare ``???`` also inside { } and [ ], where YAML sees a mark of its own in each ?."""

    def check_key(self) -> bool:
        return not self._at_missing() and bool(super().check_key())

    def check_plain(self) -> bool:
        return self._at_missing() or bool(super().check_plain())

    def scan_plain(self) -> yaml.ScalarToken:
        if not self._at_missing():
            return super().scan_plain()
        start = self.get_mark()
        self.forward(len(MISSING))
        return yaml.ScalarToken(MISSING, True, start, self.get_mark())

    def _at_missing(self) -> bool:
        here = self.prefix(len(MISSING) + 1)
        return bool(self.flow_level) and here[:-1] == MISSING and here[-1] in " \t\r\n,]}\0"


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        message = f"not valid YAML: {_problem(error)}.{_advice(text.splitlines(), line)}"
        raise ConfigError([Problem("", message, f"{file}:{line}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem("", f"not valid YAML: {error}", file)]) from error


def _problem(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(part for part in (error.context, error.problem) if part)


def _advice(lines: list[str], line: int) -> str:
    near = "\n".join(lines[max(0, line - 2) : line])
    if "\t" in near:
        return " Indent with spaces, not with tabs."
    if "${" in near and ("{" in near.replace("${", "")):
        return ' Inside { } write interpolations in quotes: "${data.batch_size}".'
    return ""


class _Walk:
    """Turns YAML nodes into values, noting origins and problems on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.origins: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def value(self, node: yaml.Node, key: str) -> Any:
        if id(node) in self._open:
            self._fail(key, "an alias (*) refers to the mapping or list it is in.", node)
            return None
        self._open.add(id(node))
        try:
            return self._value(node, key)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, key: str) -> Any:
        if not node.tag.startswith(_TAG) or node.tag.startswith(f"{_TAG}python"):
            self._fail(key, f"the tag {node.tag!r} is not allowed in a config.", node)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self._entry(entry, f"{key}.{i}") for i, entry in enumerate(node.value)]
        plain = getattr(node, "style", None) is None
        return from_text(node.value) if plain else str(node.value)

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        own: dict[str, Any] = {}
        inherited: dict[str, Any] = {}
        for name, entry in node.value:
            if name.tag == f"{_TAG}merge":
                inherited |= self._merged(entry, key)
                continue
            full = f"{key}.{name.value}" if key else str(name.value)
            if not isinstance(name, yaml.ScalarNode):
                self._fail(key, "a key must be a word, not a list or a mapping.", name)
            elif name.value in own:
                first = self.origins[full].rpartition(":")[2]
                self._fail(full, f"written twice, first in line {first}. Remove one.", name)
            else:
                self.origins[full] = self._origin(name)
                own[name.value] = self.value(entry, full)
        return inherited | own

    def _merged(self, node: yaml.Node, key: str) -> dict[str, Any]:
        """Return what ``<<: *anchor`` brings in."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Any] = {}
        for part in reversed(nodes):
            value = self.value(part, key)
            found |= value if isinstance(value, dict) else {}
        return found

    def _entry(self, node: yaml.Node, key: str) -> Any:
        self.origins[key] = self._origin(node)
        return self.value(node, key)

    def _origin(self, node: yaml.Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}"

    def _fail(self, key: str, message: str, node: yaml.Node) -> None:
        self.problems.append(Problem(key, message, self._origin(node)))
