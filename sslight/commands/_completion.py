"""What may come next on the command line: for shells, which ask at every Tab.

Nothing heavy is imported: names are read from source files, keys from the shipped JSON Schema.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslight.commands import COMMANDS
from sslight.commands._common import file_of

#: Where the schema lies: in the wheel, or in a checkout.
_PACKAGE = Path(__file__).resolve().parents[1]
_SCHEMAS = (_PACKAGE / "_configs" / "schema.json", _PACKAGE.parent / "configs" / "schema.json")

_BASH = """\
# sslight: completion for bash. Load it with: eval "$(sslight completion bash)"
_sslight() {
    local word="${COMP_WORDS[COMP_CWORD]}" words=("${COMP_WORDS[@]:1:COMP_CWORD}") answer
    answer="$(printf '%s\\n' "${words[@]}" | sslight completion words 2>/dev/null)"
    COMPREPLY=($(compgen -W "$answer" -- "$word"))
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]]; then compopt -o nospace; fi
}
complete -o default -o bashdefault -F _sslight sslight
"""
_ZSH = """\
#compdef sslight
# sslight: completion for zsh. Load it with: eval "$(sslight completion zsh)"
_sslight() {
    local -a answer so_far=("${(@)words[2,CURRENT]}")
    answer=(${(f)"$(printf '%s\\n' "${so_far[@]}" | sslight completion words 2>/dev/null)"})
    compadd -S '' -M 'r:|[._]=*' -- ${(M)answer:#*[=.]}
    compadd -M 'r:|[._]=*' -- ${answer:#*[=.]}
    _files
}
compdef _sslight sslight
"""
_FISH = """\
# sslight: completion for fish. Load it with: sslight completion fish | source
function __sslight_words
    set -l words (commandline -opc) (commandline -ct)
    printf '%s\\n' $words[2..-1] | sslight completion words 2>/dev/null
end
complete -c sslight -a '(__sslight_words)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def candidates(words: list[str]) -> list[str]:
    """Return what the last word may become.

    Args:
        words: Everything behind ``sslight``; the last one is unfinished and may be empty.
    """
    *before, last = words or [""]
    command = next((word for word in before if not word.startswith("-")), None)
    found = _commands(last) if command is None else _behind(command, before, last)
    return sorted({word for word in found if word.startswith(last)})


def _commands(last: str) -> list[str]:
    return ["--help", "--version"] if last.startswith("-") else list(COMMANDS)


def _behind(command: str, before: list[str], last: str) -> Iterator[str]:
    if command not in COMMANDS:
        return
    parser = argparse.ArgumentParser(prog=command)
    file_of(command).arguments(parser)
    previous = before[-1]
    if previous in parser._option_string_actions and _takes_value(parser, previous):
        yield from _values(parser, previous)
    elif last.startswith("-"):
        yield from [*parser._option_string_actions, "--debug"]
    else:
        yield from _words(command)
        if "--config" in parser._option_string_actions:
            yield from _keys(last)


def _takes_value(parser: argparse.ArgumentParser, option: str) -> bool:
    return parser._option_string_actions[option].nargs != 0


def _values(parser: argparse.ArgumentParser, option: str) -> Iterator[str]:
    """Yield names that an option takes; files are the shell's to complete."""
    yield from map(str, parser._option_string_actions[option].choices or ())
    if option == "--config":
        from sslight.registry.listing import rows

        yield from (name for name, _ in rows("configs"))
    if option == "--method":
        yield from _names("method")


def _words(command: str) -> list[str]:
    """Return the words without ``=`` that mean something to a command."""
    if command == "eval":
        return _names("eval")
    if command == "list":
        from sslight.registry.listing import SECTIONS

        return list(SECTIONS)
    return [*SCRIPTS] if command == "completion" else []


def _names(family: str) -> list[str]:
    from sslight import registry

    return registry.names(family)


def _keys(last: str) -> Iterator[str]:
    """Yield keys of a config as far as the word goes: ``optim.l`` gives ``optim.lr=``."""
    schema = next((json.loads(p.read_text("utf-8")) for p in _SCHEMAS if p.is_file()), None)
    if schema is None or "=" in last:
        return
    *path, _ = last.split(".")
    nodes = [schema]
    for part in path:
        nodes = [found for node in nodes for found in _below(node, part, schema)]
    prefix = "".join(f"{part}." for part in path)
    for node in nodes:
        for key in _properties(node, schema):
            if key != "_base_":
                yield f"{prefix}{key}{'.' if _is_open(node, key, schema) else '='}"


def _below(node: dict[str, Any], key: str, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a key of a node may hold."""
    for found in _flat(node, schema):
        if key in found.get("properties", {}):
            yield from _flat(found["properties"][key], schema)


def _properties(node: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    return [key for found in _flat(node, schema) for key in found.get("properties", {})]


def _is_open(node: dict[str, Any], key: str, schema: dict[str, Any]) -> bool:
    """Whether a key holds a mapping and no number, so that a dot follows."""
    found = list(_below(node, key, schema))
    numeric = any({"number", "integer"} & {*_types(part)} for part in found)
    return not numeric and any(part.get("properties") for part in found)


def _types(node: dict[str, Any]) -> list[str]:
    kind = node.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def _flat(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node and all its alternatives, references followed."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        yield from _flat(schema["definitions"].get(name, {}), schema)
        return
    yield node
    for kind in ("anyOf", "allOf"):
        for part in node.get(kind, ()):
            yield from _flat(part, schema)
    if "then" in node:  # "else" is a node that names another member
        yield from _flat(node["then"], schema)
