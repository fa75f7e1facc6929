"""``sslight completion``."""

from __future__ import annotations

import argparse
import sys


def arguments(parser: argparse.ArgumentParser) -> None:
    """A shell; its script asks for ``words``, and writes those so far to the standard input."""
    parser.add_argument(
        "shell",
        choices=["bash", "zsh", "fish", "words"],
        metavar="bash|zsh|fish",
        help='print the script for this shell: eval "$(sslight completion bash)"',
    )


def run(args: argparse.Namespace) -> None:
    """Print a shell's script, or what the last word may become."""
    from sslight.commands._completion import SCRIPTS, candidates

    if args.shell == "words":
        print("\n".join(candidates(sys.stdin.read().split("\n")[:-1])))
    else:
        print(SCRIPTS[args.shell], end="")
