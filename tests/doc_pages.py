"""README and docs/ as fenced blocks and commands.

In ``bash`` blocks every line is a command, in ``console`` blocks those that begin with ``$`` (the
rest is what they print). Marks stand in the line above a block:

- ``<!-- not run: reason -->``: the block needs what a test does not have (a cluster, the network);
- ``<!-- refused: reason -->``: the block shows an error; its commands must end with exit code 2;
- ``<!-- run with: trainer.max_steps=1 -->``: overrides that the test adds to its commands.

:mod:`doc_commands` makes commands short without a mark, :mod:`doc_desk` is where they run.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (not run|refused|run with): ([^>]*?) -->\n)?^```(\w*)\n(.*?)^```",
    re.DOTALL | re.MULTILINE,
)
SHELLS = ("bash", "console", "sh")

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
    def is_refused(self) -> bool:
        return self.mark == "refused"

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
    """Every command of every shell block."""
    found = []
    for block in blocks(*SHELLS):
        for line in block.text.replace("\\\n", " ").splitlines():
            if block.language == "console" and not line.startswith("$ "):
                continue
            line = re.sub(r'^eval "\$\((.*?)\)"', r"\1", line.removeprefix("$ "))
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                found.append(Command(block, tuple(words)))
    return found


def script(name: str) -> ModuleType:
    """Import a file of scripts/, which may import its neighbours."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "scripts"))
        spec.loader.exec_module(module)
    return module
