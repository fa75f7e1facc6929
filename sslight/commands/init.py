"""``sslight init``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sslight.commands._common import UsageError

if TYPE_CHECKING:
    from sslight.scaffold import Draft, Survey


def arguments(parser: argparse.ArgumentParser) -> None:
    """A folder, a method, and where the config goes."""
    parser.add_argument(
        "folder",
        metavar="DIR",
        help="images, sub-folders of classes, or train and test (or val)",
    )
    parser.add_argument("--method", default="simclr", help="default: simclr; sslight list methods")
    parser.add_argument(
        "--out", metavar="FILE", help="the config to write (default: <name of DIR>.yaml)"
    )


def run(args: argparse.Namespace) -> None:
    """Look at a folder, write a config for it, and print the reasons."""
    path = _target(args)
    import torch

    from sslight import config
    from sslight.scaffold import draft, survey

    seen = survey(args.folder)
    made = draft(seen, args.method, gpu=torch.cuda.is_available())
    path.write_text(made.text, encoding="utf-8")
    config.checked(config.load(path), "fit")
    print(_summary(seen, made, path))


def _target(args: argparse.Namespace) -> Path:
    """Return the file to write; an existing one is left alone."""
    name = Path(args.folder).expanduser().resolve().name or "images"
    path = Path(args.out or f"{name}.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"sslight init: --out {path} must end in .yaml.")
    if path.exists():
        raise UsageError(f"sslight init: {path} is there already. Give --out another name.")
    if not path.parent.is_dir():
        raise UsageError(f"sslight init: there is no folder {path.parent} to write {path.name} to.")
    return path


def _summary(seen: Survey, made: Draft, path: Path) -> str:
    lines = [f"Seen: {_seen(seen)}.", *made.notes, ""]
    lines += [f"Recipe: {made.recipe.name}: {made.recipe.title}.", "Rules of thumb:"]
    for choice in made.choices:
        lines += [f"  {choice.key} = {_value(choice.value)}", f"      {choice.source}."]
    where = shlex.quote(str(path))
    lines += ["", f"Wrote {path}. Next:"]
    lines += [f"  sslight check --run --config {where}", f"  sslight fit --config {where}"]
    return "\n".join(lines)


def _value(value: object) -> str:
    from sslight.scaffold.text import flow

    return flow(value)


def _seen(seen: Survey) -> str:
    parts = []
    for split, facts in seen.facts.items():
        labels = "no classes" if facts.labels is None else f"{len(facts.labels.counts)} classes"
        parts.append(f"{facts.total:,} images of {split} ({labels})")
    colour = "grey" if seen.grey else "colour"
    return f"{', '.join(parts)}, {colour}, {seen.side} px (median of the shorter side)"
