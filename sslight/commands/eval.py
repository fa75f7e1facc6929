"""``sslight eval``."""

from __future__ import annotations

import argparse
import os

from sslight.commands._common import UsageError, config_arguments, show

TAKES_WORDS = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is evaluated, what it is compared with, and how often."""
    config_arguments(parser, required=False)
    parser.add_argument(
        "--with",
        dest="compare",
        action="append",
        default=[],
        metavar="OTHER",
        help="compare with a run, a file of weights, a backbone's name, a feature store, random or "
        "pixels, on the same data",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="repeat protocols that draw something with N seeds: means and 95 %% intervals",
    )
    parser.add_argument(
        "--weights",
        choices=["main", "ema", "student"],
        default=None,
        help="main: what the method evaluates; ema: the averaged copy; student: what it trains",
    )


def run(args: argparse.Namespace) -> None:
    """Run protocols on a run, a checkpoint, a named backbone or a feature store."""
    _check(args)
    from sslight import run

    show(
        run.evaluate(
            args.config,
            protocols=args.words,
            overrides=args.overrides,
            compare=args.compare,
            seeds=args.seeds,
            weights=args.weights,
            trust=args.trust,
        )
    )


def _check(args: argparse.Namespace) -> None:
    """Refuse a command without a subject, and a feature store with keys to change."""
    if args.config is None and not args.overrides:
        raise UsageError(
            "sslight eval: say what to evaluate: --config with a config, a run's folder, a "
            "checkpoint or a feature store; or backbone=NAME init=PATH and data."
        )
    is_store = args.config and os.path.isfile(os.path.join(args.config, "manifest.json"))
    if is_store and args.overrides:
        raise UsageError(
            f"sslight eval: {args.config} is a feature store and has no config, so "
            f"{args.overrides[0]} changes nothing. Give --config the run's folder, or leave it out."
        )
