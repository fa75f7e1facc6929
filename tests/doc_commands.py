"""The commands of the pages made short: few steps, narrow networks, runs of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sslight import config
from sslight.run import subjects

#: Two small steps in one process, in place of days on many devices.
SHORT = [
    *("trainer.max_steps=2", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=1"),
    *("trainer.strategy=auto", "trainer.precision=32-true", "trainer.check_val_every_n_epoch=99"),
    *("data.workers=0", "data.batch_size=4", "optim.warmup_epochs=0"),
]
#: One process for the other commands.
ALONE = ["trainer.accelerator=cpu", "trainer.devices=1", "data.workers=0"]

#: More images than the stand-ins of the pages' data have; a limit of so many is left out.
MANY = 100


def reads_config(args: Any) -> bool:
    """Whether a command takes a config and changes to it; a feature store takes none."""
    if args is None or args.command not in ("fit", "check", "extract", "eval"):
        return False
    return not (args.config and Path(args.config, "manifest.json").exists())


def composed(args: Any) -> Any:
    if args.command == "eval":  # also a file of weights, or overrides alone
        return subjects.composed(args.config, args.overrides)
    return config.load(args.config or {}, args.overrides)


def missing(tree: Any) -> list[str]:
    """Full keys of all ``???``."""
    return [key for key, value in config.flatten(tree).items() if value == "???"]


def problems(args: Any) -> list[str]:
    """What is wrong with a command's config, as it is shown, with its ``???`` filled in."""
    tree = composed(args)
    filled = [f"{key}=placeholder" for key in missing(tree)]
    command = "fit" if args.command in ("fit", "check") else "extract"
    told = getattr(args, "compare", None) or "checkpoint" in (tree.get("extract") or {})
    found = config.check(
        config.compose(tree, filled), command, args.trust, ["backbone"] if told else []
    )
    return [str(problem) for problem in found]


class Shortener:
    """Adds overrides to a page's commands, one after the other.

    What a config was narrowed by when it was trained, it is also narrowed by when it is extracted
    and evaluated further down the page.
    """

    def __init__(self) -> None:
        self.trained: dict[str, list[str]] = {}

    def extra(self, args: Any, marked: list[str], number: int) -> list[str]:
        """Overrides for one command.

        Args:
            args: The command as it was parsed.
            marked: Overrides that a mark asks for; they come last.
            number: Which of all commands it is, for a run folder of its own.
        """
        if args is not None and args.command == "init":  # another page has shown it, too
            Path(args.out or f"{Path(args.folder).name}.yaml").unlink(missing_ok=True)
        if not reads_config(args):
            return marked
        tree = composed(args)
        filled = [f"{key}=photos" for key in missing(tree)]
        if args.command == "check":
            few = ["data.batch_size=4", "trainer.devices=1", "trainer.num_nodes=1"]
            return [*filled, *few, *marked]
        if args.command != "fit":
            return [*ALONE, *filled, *unlimited(tree), *self.trained.get(args.config, []), *marked]
        narrow = [*run_folder(tree, number), *narrow_backbone(tree), *few_images(tree), *marked]
        self.trained[args.config] = narrow
        return [*SHORT, *filled, *unlimited(tree), *narrow]


def run_folder(tree: Any, number: int) -> list[str]:
    """Another folder where the config's own holds a run already."""
    taken = Path("runs", tree.name, "config.yaml").exists() and not tree.get("run_dir")
    return [f"run_dir=runs/shown_{number}"] if taken else []


def narrow_backbone(tree: Any) -> list[str]:
    if str(tree["backbone"]["name"]).startswith("vit"):
        sizes = ["backbone.width=32", "backbone.depth=1", "backbone.heads=2"]
        return ["backbone.name=vit_t_16", *sizes]
    return ["backbone.name=resnet10", "backbone.width=4"]


def few_images(tree: Any) -> list[str]:
    """Of generated images, sixteen."""
    splits = ("train", "test")
    made = [split for split in splits if "num_images" in (tree["data"].get(split) or {})]
    return [f"data.{split}.num_images=16" for split in made]


def unlimited(tree: Any) -> list[str]:
    """Leave out limits that the stand-ins do not reach."""
    data = tree.get("data") or {}
    given = {key: data[key] for key in ("limit", "test_limit") if data.get(key)}
    numbers = {key: node if isinstance(node, int) else node["num"] for key, node in given.items()}
    return [f"data.{key}=null" for key, number in numbers.items() if number > MANY]
