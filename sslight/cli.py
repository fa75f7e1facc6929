"""The ``sslight`` command: words in, a call of ``sslight.run`` out.

Exit codes: 0; 1 a run failed; 2 the config or the command is wrong; 128 + n a signal n ended it.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

_EXAMPLES = """examples:
  sslight fit --config quickstart
  sslight fit --config simclr/folder_resnet50 data.train.root=photos optim.lr=0.5 callbacks.knn=null
  sslight extract --config runs/quickstart
  sslight eval knn --config runs/quickstart
  sslight check --config my.yaml
  sslight list methods
"""


class UsageError(Exception):
    """The command line makes no sense; the text says what to write."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving, so that every complaint looks alike."""
        raise UsageError(f"{message}. See {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors are sentences on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
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


# -------------------------------------------------------------------- commands


def _fit(args: argparse.Namespace) -> None:
    composed = _config(args)
    from sslight import run

    run.fit(composed, trust=args.trust, accept=args.accept)


def _extract(args: argparse.Namespace) -> None:
    composed = _config(args)
    from sslight import run

    _show(run.extract(composed, weights=args.weights, trust=args.trust))


def _eval(args: argparse.Namespace) -> None:
    store = _is_store(args)
    composed = None if store else _config(args)
    from sslight import run

    _show(run.evaluate(composed or args.config, protocols=args.words, trust=args.trust))


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


def _check(args: argparse.Namespace) -> None:
    from sslight import config

    composed = _config(args)
    config.checked(composed, "fit", trust=args.trust)
    from sslight import run

    _show(run.plan(composed, trust=args.trust))


def _list(args: argparse.Namespace) -> None:
    from sslight.registry.listing import listing

    print(listing(args.family, markdown=args.markdown))


def _config(args: argparse.Namespace) -> Any:
    from sslight import config

    return config.load(args.config, args.overrides)


def _show(result: object) -> None:
    if result is not None:
        print(result)


# -------------------------------------------------------------------- words

_COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], str]] = {
    "fit": (_fit, "train a backbone without labels, or go on with a run that was stopped"),
    "extract": (_extract, "write the features of every image"),
    "eval": (_eval, "measure features: sslight eval knn --config ..."),
    "check": (_check, "print a config's problems, or what a run would do"),
    "list": (_list, "list methods, backbones, sources, configs, ..."),
}


def _parse(words: list[str]) -> argparse.Namespace:
    parser = _parser()
    command = next((word for word in words if not word.startswith("-")), None)
    if command is not None and command not in _COMMANDS:
        raise UsageError(f"sslight: no command {command!r}.{_nearest(command, _COMMANDS)}")
    args, rest = parser.parse_known_args(words)
    if command is None:
        parser.print_help()
        raise UsageError("\nsslight: write a command, for example: sslight fit --config quickstart")
    if command == "list":
        _refuse(rest, command, ["--markdown"])
    else:
        _sort_words(args, rest, command)
    return args


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sslight",
        description="Self-supervised image pretraining: images in, a backbone and features out.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (run, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(run=run)
        _ARGUMENTS.get(name, _add_config)(command)
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: Any, **__: Any) -> None:
        """Print the version, looked up only now."""
        import sslight

        print(f"sslight {sslight.__version__}")
        raise SystemExit(0)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        required=True,
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


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="KEY",
        help="go on with a run although this key has changed",
    )


def _add_extract(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument(
        "--weights",
        choices=["main", "ema", "student"],
        default="main",
        help="main: what the method evaluates; ema: the averaged copy; student: what it trains",
    )


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", nargs="?", help="methods, backbones, sources, views, configs ...")
    parser.add_argument("--markdown", action="store_true", help="print tables")


_ARGUMENTS = {"fit": _add_fit, "extract": _add_extract, "list": _add_list}


def _sort_words(args: argparse.Namespace, rest: list[str], command: str) -> None:
    """Tell overrides from protocols, also where options stand between them."""
    options = ["--config", "--trust", "--debug", "--help"]
    options += {"fit": ["--accept"], "extract": ["--weights"]}.get(command, [])
    _refuse([word for word in rest if word.startswith("-")], command, options)
    words = [*args.words, *rest]
    args.overrides = [word for word in words if "=" in word]
    args.words = [word for word in words if "=" not in word]
    if args.words and command != "eval":
        word = args.words[0]
        advice = f"To set a key write {word}=VALUE"
        raise UsageError(
            f"sslight {command}: what is {word!r}? {advice}; the file goes to --config."
        )


def _refuse(rest: list[str], command: str, options: list[str]) -> None:
    if rest:
        word = rest[0].partition("=")[0]
        raise UsageError(f"sslight {command}: unknown option {word!r}.{_nearest(word, options)}")


def _nearest(word: str, known: Any) -> str:
    from sslight.registry.families import did_you_mean

    return did_you_mean(word, known)
