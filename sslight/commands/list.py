"""``sslight list``."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """A family."""
    parser.add_argument("family", nargs="?", help="methods, backbones, sources, views, configs ...")
    parser.add_argument("--markdown", action="store_true", help="print tables")


def run(args: argparse.Namespace) -> None:
    """Print the names that a config can use."""
    from sslight.registry.listing import listing

    print(listing(args.family, markdown=args.markdown))
