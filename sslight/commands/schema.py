"""``sslight schema``."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where it goes."""
    parser.add_argument("--out", metavar="FILE", help="write it to a file instead of printing it")


def run(args: argparse.Namespace) -> None:
    """Print the JSON Schema of a config, installed packages' names included."""
    from sslight.config.schema import schema_text, write_schema

    if args.out is None:
        print(schema_text(), end="")
        return
    write_schema(args.out)
    print(f"Wrote {args.out}. An editor finds it by a first line in a config such as")
    print(f"# yaml-language-server: $schema={args.out}")
