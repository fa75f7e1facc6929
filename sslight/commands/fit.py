"""``sslight fit``."""

from __future__ import annotations

import argparse

from sslight.commands._common import config_arguments, loaded_config


def arguments(parser: argparse.ArgumentParser) -> None:
    """A config, and which changed keys are accepted."""
    config_arguments(parser)
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="KEY",
        help="go on with a run although this key has changed",
    )


def run(args: argparse.Namespace) -> None:
    """Train."""
    composed = loaded_config(args)
    from sslight import run

    run.fit(composed, trust=args.trust, accept=args.accept)
