"""``sslight export``."""

from __future__ import annotations

import argparse
from typing import Any

from sslight import registry
from sslight.commands._common import UsageError, config_arguments, loaded_config, show


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which backbone, which format, where to."""
    config_arguments(parser, required=False)
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="a checkpoint or file of weights; with --config, weights for that config's backbone",
    )
    names = ", ".join(registry.names("format"))
    parser.add_argument("--to", required=True, metavar="FORMAT", help=names)
    parser.add_argument(
        "--out", metavar="FOLDER", help="default: export/FORMAT in the run's folder"
    )
    parser.add_argument(
        "--weights",
        choices=["main", "ema", "student"],
        help="main: what the method evaluates; ema: the averaged copy; student: what it trains",
    )


def run(args: argparse.Namespace) -> None:
    """Write a backbone for other libraries, and load it again."""
    source = _source(args)
    from sslight import run

    show(run.export(source, args.to, args.out, weights=args.weights, trust=args.trust))


def _source(args: argparse.Namespace) -> Any:
    if args.config is None and args.checkpoint is None:
        raise UsageError("sslight export: give --config RUN or --checkpoint FILE.")
    if args.config is None:
        if args.overrides:
            raise UsageError(
                f"sslight export: {args.overrides[0]} changes a config; give one with --config."
            )
        return args.checkpoint
    if args.checkpoint is not None:
        args.overrides.append(f"extract.checkpoint={args.checkpoint}")
    return args.config if not args.overrides else loaded_config(args)
