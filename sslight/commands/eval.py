"""``sslight eval``."""

from __future__ import annotations

import argparse
import os

from sslight.commands._common import UsageError, config_arguments, loaded_config, show

TAKES_WORDS = True
arguments = config_arguments


def run(args: argparse.Namespace) -> None:
    """Run protocols on a config's run, or on a feature store."""
    composed = None if _is_store(args) else loaded_config(args)
    from sslight import run

    show(run.evaluate(composed or args.config, protocols=args.words, trust=args.trust))


def _is_store(args: argparse.Namespace) -> bool:
    """Whether ``--config`` names a feature store, which has no config to change."""
    if not os.path.isfile(os.path.join(args.config, "manifest.json")):
        return False
    if args.overrides:
        raise UsageError(
            f"sslight eval: {args.config} is a feature store and has no config, so "
            f"{args.overrides[0]} changes nothing. Give --config the run's folder, or leave it out."
        )
    return True
