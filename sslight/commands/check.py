"""``sslight check``."""

from __future__ import annotations

import argparse

from sslight.commands._common import config_arguments, loaded_config, show

arguments = config_arguments


def run(args: argparse.Namespace) -> None:
    """Print every problem of a config, or what a run would do."""
    from sslight import config

    composed = loaded_config(args)
    config.checked(composed, "fit", trust=args.trust)
    from sslight import run

    show(run.plan(composed, trust=args.trust))
