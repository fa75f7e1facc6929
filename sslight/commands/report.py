"""``sslight report``."""

from __future__ import annotations

import argparse

from sslight.commands._common import UsageError, show


def arguments(parser: argparse.ArgumentParser) -> None:
    """Runs, and where the page goes."""
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="the folder of a run; several compare"
    )
    parser.add_argument("--out", metavar="FILE", help="the HTML file (default: RUN/report.html)")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="let the configs name classes of this package as package.module:Class",
    )


def run(args: argparse.Namespace) -> None:
    """Write the page, and print the verdicts and where it is."""
    if not args.runs:
        raise UsageError("sslight report: give the folder of a run: sslight report runs/quickstart")
    from sslight import run

    show(run.report(args.runs, args.out, trust=args.trust))
