"""The ``sslight`` command: words in, a call of ``sslight.commands`` out.

Exit codes: 0; 1 a run failed; 2 the config or the command is wrong; 128 + n a signal n ended it.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sslight.commands import COMMANDS
from sslight.commands._common import UsageError, file_of
from sslight.cores import respect_quota

_EXAMPLES = """examples:
  sslight fit --config quickstart
  sslight fit --config simclr/folder_resnet50 data.train.root=photos optim.lr=0.5 callbacks.knn=null
  sslight extract --config runs/quickstart
  sslight eval knn --config runs/quickstart
  sslight check --config my.yaml
  sslight list methods
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving, so that every complaint looks alike."""
        raise UsageError(f"{message}. See {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors are sentences on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    respect_quota()
    try:
        args = _parse(words)
        run: Callable[[argparse.Namespace], None] = args.run
        run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `sslight list | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _complain(error, debug=debug)
    return 0


def _complain(error: Exception, *, debug: bool) -> int:
    """Print an error and return the exit code that belongs to it."""
    if debug:
        traceback.print_exception(error)
    elif _is_usage(error):
        print(error, file=sys.stderr)
    else:
        hint = "--debug shows where."
        print(f"sslight failed: {type(error).__name__}: {error}\n{hint}", file=sys.stderr)
    return 2 if _is_usage(error) else 1


def _is_usage(error: Exception) -> bool:
    from sslight.errors import RefusedRunError
    from sslight.registry.families import UnknownNameError

    return isinstance(error, UsageError | UnknownNameError | RefusedRunError)


# -------------------------------------------------------------------- words


def _parse(words: list[str]) -> argparse.Namespace:
    name = next((word for word in words if not word.startswith("-")), None)
    if name is not None and name not in COMMANDS:
        raise UsageError(f"sslight: no command {name!r}.{_nearest(name, COMMANDS)}")
    parser, commands = _parsers()
    if name is None:
        parser.parse_known_args(words)
        parser.print_help()
        raise UsageError("\nsslight: write a command, for example: sslight fit --config quickstart")
    command = file_of(name)
    command.arguments(commands[name])
    commands[name].add_argument("--debug", action="store_true", help="show tracebacks")
    args, rest = parser.parse_known_args(words)
    args.run = command.run
    _sort_words(args, rest, commands[name], takes_words=getattr(command, "TAKES_WORDS", False))
    return args


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and an empty one for each command."""
    parser = _Parser(
        prog="sslight",
        description="Self-supervised image pretraining: images in, a backbone and features out.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    return parser, {
        name: commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        for name, text in COMMANDS.items()
    }


class _Version(argparse.Action):
    def __call__(self, *_: Any, **__: Any) -> None:
        """Print the version, looked up only now."""
        import sslight

        print(f"sslight {sslight.__version__}")
        raise SystemExit(0)


def _sort_words(
    args: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser, takes_words: bool
) -> None:
    """Tell overrides from other words, also where options stand between them."""
    unknown = [word for word in rest if word.startswith("-")]
    if not hasattr(args, "words"):
        unknown = rest
    if unknown:
        word = unknown[0].partition("=")[0]
        known = [o for o in parser._option_string_actions if o.startswith("--")]
        raise UsageError(f"{parser.prog}: unknown option {word!r}.{_nearest(word, known)}")
    words = [*getattr(args, "words", []), *rest]
    args.overrides = [word for word in words if "=" in word]
    args.words = [word for word in words if "=" not in word]
    if args.words and not takes_words:
        word = args.words[0]
        raise UsageError(
            f"{parser.prog}: what is {word!r}? To set a key write {word}=VALUE; the file goes to "
            "--config."
        )


def _nearest(word: str, known: Any) -> str:
    from sslight.registry.families import did_you_mean

    return did_you_mean(word, known)
