"""``sslight extract``."""

from __future__ import annotations

import argparse

from sslight.commands._common import config_arguments, loaded_config, show


def arguments(parser: argparse.ArgumentParser) -> None:
    """A config, and which of a run's weights."""
    config_arguments(parser)
    parser.add_argument(
        "--weights",
        choices=["main", "ema", "student"],
        default="main",
        help="main: what the method evaluates; ema: the averaged copy; student: what it trains",
    )


def run(args: argparse.Namespace) -> None:
    """Write the features of every split."""
    composed = loaded_config(args)
    from sslight import run

    show(run.extract(composed, weights=args.weights, trust=args.trust))
