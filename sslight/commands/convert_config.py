"""``sslight convert-config``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from sslight.commands._common import UsageError

if TYPE_CHECKING:
    from sslight.convert import Conversion


def arguments(parser: argparse.ArgumentParser) -> None:
    """VISSL's file, and where to write ours."""
    parser.add_argument("vissl", metavar="VISSL.yaml", help="a config of VISSL's")
    parser.add_argument("-o", "--out", metavar="FILE", help="write here; else it is printed")


def run(args: argparse.Namespace) -> None:
    """Write the config that does what VISSL's does, and say what was not carried over."""
    from sslight.convert import NotVisslError, convert

    try:
        conversion = convert(_read(Path(args.vissl)))
    except NotVisslError as error:
        raise UsageError(f"{args.vissl}: {error}") from error
    text = _text(args.vissl, conversion)
    if args.out is None:
        print(text, end="")
        return
    out = Path(args.out)
    if out.exists():
        raise UsageError(f"{out} exists already; nothing is overwritten. Give -o another name.")
    out.write_text(text, encoding="utf-8")
    for note in conversion.notes:
        print(note, file=sys.stderr)
    blanks = str(conversion.config).count("'???'")
    print(f"{out}: {len(conversion.notes)} notes above; to fill in (???): {blanks}.")
    print(f"Next: sslight check --config {out}")


def _read(path: Path) -> dict[str, object]:
    """Parse the file; problems are told as those of a config of ours."""
    from sslight.config.parse import parse

    try:
        return parse(path.read_text(encoding="utf-8"), str(path)).tree
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _text(name: str, conversion: Conversion) -> str:
    """The config as YAML, with the notes above it as comments."""
    import yaml

    head = [f"Converted from VISSL's {Path(name).name}; ??? is for you to fill in."]
    head += ["What was not carried over as it was:"] if conversion.notes else []
    lines = [line for entry in head for line in textwrap.wrap(entry, 98)]
    for note in conversion.notes:
        lines += textwrap.wrap(f"- {note}", 98, subsequent_indent="  ", break_long_words=False)
    body = yaml.safe_dump(conversion.config, sort_keys=False, default_flow_style=None, width=100)
    return "".join(f"# {line}\n" for line in lines) + body
