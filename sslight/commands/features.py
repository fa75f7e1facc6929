"""``sslight features``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sslight.commands._common import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    """A store, and what to write it as."""
    parser.add_argument(
        "--config", required=True, metavar="FOLDER", help="a feature store, or a run with one"
    )
    parser.add_argument(
        "--to", choices=["parquet", "csv", "npz"], help="default: say what is stored"
    )
    parser.add_argument("--out", metavar="FOLDER", help="default: the store's folder")
    parser.add_argument("--split", action="append", metavar="NAME", help="default: all splits")
    parser.add_argument("--layer", action="append", metavar="NAME", help="default: all layers")


def run(args: argparse.Namespace) -> None:
    """Describe a feature store, or write ``<split>.<format>`` for each split."""
    from sslight.errors import refusing
    from sslight.features import load_features

    with refusing(KeyError, ValueError, OSError, ImportError):
        store = load_features(args.config, partial=args.to is None)
        if args.to is None:
            if args.split or args.layer or args.out:
                raise UsageError("sslight features: add --to parquet, csv or npz.")
            print(store.describe())
            return
        folder = Path(args.out or store.root)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.split or list(store):
            write = getattr(store[name], args.to)
            print(write(folder / f"{name}.{args.to}", args.layer))
