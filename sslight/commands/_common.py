"""What commands share."""

from __future__ import annotations

import argparse
import importlib
from typing import Any


class UsageError(Exception):
    """The command line makes no sense; the text says what to write."""


def file_of(command: str) -> Any:
    """The module of a command, imported now; a hyphen in its name is an underscore in the file."""
    return importlib.import_module(f"sslight.commands.{command.replace('-', '_')}")


def config_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--config``, ``--trust`` and overrides."""
    parser.add_argument(
        "--config",
        required=required,
        metavar="FILE",
        help="a YAML file, a run's folder, or the name of a shipped config (sslight list configs)",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="let the config name classes of this package as package.module:Class",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="change the config: optim.lr=0.1, callbacks.knn=null",
    )


def loaded_config(args: argparse.Namespace) -> Any:
    """The config that the command line names, with its overrides."""
    from sslight import config

    return config.load(args.config, args.overrides)


def show(result: object) -> None:
    """Print what a command returned, if it did."""
    if result is not None:
        print(result)
