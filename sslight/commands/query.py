"""``sslight query``."""

from __future__ import annotations

import argparse

from sslight.commands._common import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Features, images, how many."""
    parser.add_argument(
        "--features", required=True, metavar="FOLDER", help="a feature store, or a run with one"
    )
    parser.add_argument("--image", required=True, nargs="+", metavar="FILE", help="one or several")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="matches per image (10)")
    parser.add_argument("--split", action="append", metavar="NAME", help="default: all splits")
    parser.add_argument("--layer", metavar="NAME", help="default: the first that is stored")
    parser.add_argument(
        "--index",
        choices=["exact", "faiss"],
        default="exact",
        help="exact: little memory; faiss: all features in memory (needs faiss)",
    )
    parser.add_argument(
        "--config", metavar="RUN", help="the run or config whose backbone made the features"
    )
    parser.add_argument(
        "--backbone", metavar="NAME", help="a file of weights, or a name together with --init"
    )
    parser.add_argument("--init", metavar="FILE", help="weights for the backbone's name")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE",
                        help="let the config name classes of this package")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> None:
    """Print the stored images most like the given ones."""
    if args.config and args.backbone:
        raise UsageError("sslight query: give --config or --backbone, not both.")
    from sslight import run

    found = run.query(
        args.features,
        args.image,
        args.k,
        splits=args.split,
        layer=args.layer,
        index=args.index,
        backbone=args.config or args.backbone,
        init=args.init,
        trust=args.trust,
    )
    print(found.to_json() if args.json else found)
