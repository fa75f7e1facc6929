"""``sslight check``."""

from __future__ import annotations

import argparse
from typing import Any

from sslight.commands._common import UsageError, config_arguments, loaded_config, show


def arguments(parser: argparse.ArgumentParser) -> None:
    """A config, and whether to try it."""
    config_arguments(parser)
    parser.add_argument(
        "--run",
        dest="tried",  # cli keeps the command itself in args.run
        action="store_true",
        help="open images, draw views, run a few real steps, and say what to change",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=500,
        metavar="N",
        help="with --run: images of each split to open (default: 500)",
    )


def run(args: argparse.Namespace) -> None:
    """Print every problem of a config, or what a run would do; with ``--run`` try it."""
    from sslight import config

    composed = loaded_config(args)
    config.checked(composed, "fit", trust=args.trust)
    from sslight import run

    if args.tried:
        _examine(run, composed, args)
    else:
        show(run.plan(composed, trust=args.trust))


def _examine(run: Any, composed: Any, args: argparse.Namespace) -> None:
    """Print what the doctor saw; problems end the command with exit code 2."""
    if args.images < 1:
        raise UsageError(f"sslight check: --images is {args.images}; give a number from 1.")
    seen = run.examine(composed, trust=args.trust, images=args.images)
    show(seen)
    if seen.problems:
        raise UsageError(f"sslight check: {len(seen.problems)} of these (!) must be seen to first.")
