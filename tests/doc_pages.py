"""README and docs/ as fenced blocks and commands, and a folder to run them in.

Marks stand in the line above a block:

- ``<!-- not run: reason -->``: the block needs what a test does not have (a cluster, the network);
- ``<!-- run with: trainer.max_steps=1 -->``: overrides that the test adds to its commands.

A command that trains also gets :data:`SHORT`, so that most need no mark.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torchvision.io import write_jpeg

import sslight

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (not run|run with): ([^>]*?) -->\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE
)
SHELLS = ("bash", "console", "sh")

#: Two small steps in one process, in place of days on many devices.
SHORT = [
    *("trainer.max_steps=2", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=1"),
    *("trainer.strategy=auto", "trainer.precision=32-true", "trainer.check_val_every_n_epoch=99"),
    *("data.workers=0", "data.batch_size=4", "optim.warmup_epochs=0"),
]
#: One process for the other commands.
ALONE = ["trainer.accelerator=cpu", "trainer.devices=1", "data.workers=0"]

#: First words of a line that is not run here, and why. A block of anything else needs a mark.
ELSEWHERE = {
    "pip": "needs the network",
    "torchrun": "starts processes; the same command is run without it, ranks in test_two_ranks.py",
    "sbatch": "needs SLURM",
    "scripts/demo": "is the CI's",
    "scripts/test": "is this",
    "scripts/docs": "is run by test_site.py",
    "scripts/torchrun_example.sh": "starts processes; is run by test_scripts.py",
    "pytest": "is this",
    "tensorboard": "is a server",
}


@dataclass(frozen=True)
class Block:
    """One fenced block, where it begins, and what is marked above it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    reason: str = ""

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return self.mark != "not run"

    @property
    def extra(self) -> list[str]:
        """Overrides that the mark above asks for."""
        return shlex.split(self.reason) if self.mark == "run with" else []

    @property
    def file(self) -> Path | None:
        """The file that a first line such as ``# my.yaml`` names."""
        named = re.match(r"# (\S+\.(?:yaml|py))\n", self.text)
        return Path(named[1]) if named else None


@dataclass(frozen=True)
class Command:
    """One line of a shell block: ``words`` start with the program."""

    block: Block
    words: tuple[str, ...]

    @property
    def ours(self) -> list[str] | None:
        """The arguments of ``sslight``, wherever in the line it is called; None if it is not."""
        words = list(self.words)
        return words[words.index("sslight") + 1 :] if "sslight" in words else None


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            mark, reason, language, body = match.groups()
            line = text[: match.start(3)].count("\n") + 1
            found.append(Block(page, line, language, body, mark or "", reason or ""))
    return [block for block in found if not languages or block.language in languages]


def commands() -> list[Command]:
    """Every line of every shell block."""
    found = []
    for block in blocks(*SHELLS):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                found.append(Command(block, tuple(words)))
    return found


def script(name: str) -> ModuleType:
    """Import a file of scripts/."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def photos(folder: Path) -> None:
    """Twelve small photos in two classes."""
    draw = np.random.default_rng(0)
    for i, kind in enumerate(("cat", "dog") * 6):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (3, 40, 48), dtype=np.uint8)
        write_jpeg(torch.from_numpy(pixels), str(folder / kind / f"{i}.jpg"))


def shown_files(folder: Path) -> None:
    """Write the files that the pages show."""
    for block in blocks("yaml", "python"):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text)


def small_runs() -> None:
    """The finished runs that the pages take for granted, as small as they can be."""
    tiny = ["backbone.width=4", "trainer.max_epochs=1", "data.workers=0", "data.batch_size=16"]
    tiny += ["data.train.num_images=32", "data.test.num_images=16", "callbacks.linear_probe=null"]
    tiny += ["callbacks.ema_weights={}", "callbacks.view_grid=null"]
    sslight.fit("quickstart", tiny)
    sslight.extract("runs/quickstart")
    folder = ["data.train.root=photos", "data.test={name: folder, root: photos}"]
    narrow = ["backbone.name=resnet10", "backbone.width=4"]
    sslight.fit("simclr/folder_resnet50", [*folder, *narrow, *SHORT])
