"""What there is: the names of every family with a line each, as text or as a Markdown table."""

from __future__ import annotations

import textwrap
from pathlib import Path

from sslight import registry
from sslight.registry.families import UnknownNameError, did_you_mean

#: What ``sslight list`` calls its sections, and the family behind each.
SECTIONS = {
    "methods": "method",
    "backbones": "backbone",
    "sources": "source",
    "views": "views",
    "callbacks": "callback",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "train_steps": "train_step",
    "evals": "eval",
    "formats": "format",
    "configs": "configs",
}


def listing(section: str | None = None, *, markdown: bool = False) -> str:
    """Return names and one-line descriptions of a section, or of all of them.

    Args:
        section: A key of ``SECTIONS``, singular or plural; None for everything.
        markdown: Tables instead of columns.

    Raises:
        UnknownNameError: There is no such section.
    """
    chosen = list(SECTIONS) if section is None else [_section(section)]
    return "\n\n".join(_show(name, rows(name), markdown=markdown) for name in chosen)


def rows(section: str) -> list[tuple[str, str]]:
    """Return ``(name, description)`` of everything in a section."""
    if section == "configs":
        return _configs()
    family = SECTIONS[section]
    return [(name, registry.summary(family, name)) for name in registry.names(family)]


def _section(word: str) -> str:
    plain = word.lower().replace("-", "_")
    for section, family in SECTIONS.items():
        if plain in (section, family, section.removesuffix("s")):
            return section
    raise UnknownNameError(f"cannot list {word!r}.{did_you_mean(word, SECTIONS)}")


def _configs() -> list[tuple[str, str]]:
    from sslight.config.compose import shipped

    return [
        (name, _first_comment(path))
        for name, path in sorted(shipped().items())
        if not name.startswith("_")
    ]


def _first_comment(path: Path) -> str:
    """Return a config's title: its first comment that is not for editors."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# yaml-language-server:"):
            return line.lstrip("# ") if line.startswith("#") else ""
    return ""


def _show(section: str, entries: list[tuple[str, str]], *, markdown: bool) -> str:
    if markdown:
        lines = [f"| {section} | |", "|---|---|"]
        lines += [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in entries]
        return "\n".join(lines)
    width = max([len(name) for name, _ in entries], default=0)
    texts = [(name, textwrap.shorten(text, 96, placeholder=" ...")) for name, text in entries]
    return "\n".join(
        [f"{section}:", *(f"  {name:{width}}  {text}".rstrip() for name, text in texts)]
    )
