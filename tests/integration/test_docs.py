"""The docs are run: Python blocks execute, commands parse, configs pass, tables are current."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.io import write_jpeg

import sslight
from sslight import cli, config
from sslight.registry.listing import SECTIONS
from sslight.run import subjects

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PROSE = [*PAGES, REPOSITORY / "ARCHITECTURE.md", REPOSITORY / "CHANGELOG.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NOT_RUN = "# not run: "

#: What a fragment of a config is read on top of.
WHOLE = ["method=simclr", "backbone=resnet18", "data.train={name: fake}"]


@dataclass(frozen=True)
class Block:
    """One fenced block, and where it begins."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def file(self) -> Path | None:
        """The file that a first line such as ``# my.yaml`` names."""
        named = re.match(r"# (\S+\.(?:yaml|py))\n", self.text)
        return Path(named[1]) if named else None


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 1
            found.append(Block(page, line, match[1], match[2]))
    return [block for block in found if not languages or block.language in languages]


def commands() -> list[tuple[str, list[str]]]:
    """Every ``sslight ...`` in a shell block: where it stands, and its words."""
    found = []
    for block in blocks("bash", "console", "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if "sslight" in words:
                found.append((block.where, words[words.index("sslight") + 1 :]))
    return found


# ------------------------------------------------------------------ a folder to run them in


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few photos, the files that the docs show, and a small finished run."""
    folder = tmp_path_factory.mktemp("desk")
    draw = np.random.default_rng(0)
    for i, kind in enumerate(("cat", "dog", "cat", "dog")):
        (folder / "photos" / kind).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (3, 40, 48), dtype=np.uint8)
        write_jpeg(torch.from_numpy(pixels), str(folder / "photos" / kind / f"{i}.jpg"))
    for block in blocks("yaml", "python"):
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True)
            (folder / block.file).write_text(block.text)
    before = {name: os.environ.get(name) for name in ("SSLIGHT_CACHE",)}
    os.environ["SSLIGHT_CACHE"] = str(folder / "cache")
    here = Path.cwd()
    os.chdir(folder)
    try:
        small_run()
        begun_run("folder_resnet50")
    finally:
        os.chdir(here)
        restore(before)
    return folder


def small_run() -> None:
    tiny = ["backbone.width=4", "trainer.max_epochs=1", "data.workers=0", "data.batch_size=16"]
    tiny += ["data.train.num_images=32", "data.test.num_images=16", "callbacks.linear_probe=null"]
    sslight.fit("quickstart", tiny)
    sslight.extract("runs/quickstart")
    shutil.copy("runs/quickstart/backbone.safetensors", "weights.safetensors")
    torch.save(sslight.backbone("resnet18").state_dict(), "resnet18.pth")


def begun_run(name: str) -> None:
    """What ``fit`` writes first, of the run that the README goes on with in later commands."""
    composed = config.load(f"simclr/{name}", ["data.train.root=photos"])
    (Path("runs") / name).mkdir(parents=True)
    (Path("runs") / name / "config.yaml").write_text(composed.text)


def restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def inside(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in that folder, and leave neither its modules nor its path imported."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("SSLIGHT_CACHE", str(desk / "cache"))
    monkeypatch.setattr(sys, "path", [str(desk), *sys.path])
    modules, steps = set(sys.modules), dict(sslight.train_steps.TRAIN_STEPS)
    yield desk
    sslight.train_steps.TRAIN_STEPS.clear()
    sslight.train_steps.TRAIN_STEPS.update(steps)
    packages = {block.file.parts[0] for block in blocks("python") if block.file}
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in packages:
            del sys.modules[name]


# ------------------------------------------------------------------ Python


def pages_with_code() -> list[Path]:
    return list(dict.fromkeys(block.page for block in blocks("python")))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", pages_with_code(), ids=lambda page: page.stem)
def test_python_blocks_run(page: Path, inside: Path) -> None:
    """In the order of the page, each knowing what the ones before it defined."""
    scope: dict[str, Any] = {"__name__": "docs"}
    ran = 0
    for block in blocks("python"):
        if block.page != page or block.text.startswith(NOT_RUN):
            continue
        padding = "\n" * block.line  # so that a traceback shows the page's own line
        exec(compile(padding + block.text, str(page), "exec"), scope)
        ran += 1
    assert ran


def test_nearly_every_block_is_run() -> None:
    code = blocks("python")
    left_out = [block.where for block in code if block.text.startswith(NOT_RUN)]
    assert len(code) >= 6
    assert len(left_out) <= 2, left_out


def test_the_method_of_the_readme_is_short(inside: Path) -> None:
    method = next(block for block in blocks("python") if block.file)
    assert len([line for line in method.text.splitlines() if line.strip()]) <= 25
    ours = importlib.import_module("mymethods.align").Align
    assert issubclass(ours, sslight.SSLModule)


# ------------------------------------------------------------------ commands and configs


def missing(tree: Any) -> list[str]:
    """Full keys of all ``???``."""
    return [key for key, value in config.flatten(tree).items() if value == "???"]


def problems(args: Any) -> list[str]:
    """What is wrong with a command's config, its ``???`` filled in."""
    is_eval, given = args.command == "eval", []
    load = subjects.composed if is_eval else config.load
    composed = load(args.config, args.overrides)
    if is_eval and (args.compare or "checkpoint" in composed.get("extract", {})):
        given = ["backbone"]
    filled = [f"{key}=placeholder" for key in missing(composed)]
    command = "extract" if args.command in ("extract", "eval") else "fit"
    found = config.check(config.compose(composed, filled), command, args.trust, given)
    return [str(problem) for problem in found]


@pytest.mark.parametrize(("where", "words"), commands(), ids=lambda value: str(value)[:60])
def test_commands_parse_and_their_configs_pass(where: str, words: list[str], inside: Path) -> None:
    if words == ["--version"]:
        return
    args = cli._parse(words)
    if args.command == "list":
        assert args.family in SECTIONS, where
    elif not subjects.is_store(args.config):
        assert problems(args) == [], where
    for protocol in getattr(args, "words", []):
        assert protocol in sslight.registry.names("eval"), where


def test_there_are_commands() -> None:
    told = {words[0] for _, words in commands()}
    assert told >= {"fit", "extract", "eval", "check", "list"}
    assert len(commands()) > 15


def test_a_wrong_command_would_be_noticed(inside: Path) -> None:
    args = cli._parse(["fit", "--config", "quickstart", "optim.lrr=0.1"])
    assert len(problems(args)) == 1
    with pytest.raises(cli.UsageError):
        cli._parse(["fit", "--confg", "quickstart"])


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.where)
def test_configs_pass(block: Block, inside: Path) -> None:
    path = inside / "shown.yaml"
    path.write_text(block.text)
    shown = config.load(path)
    base = [word for word in WHOLE if word.split("=")[0].split(".")[0] not in shown]
    trust = [shown["method"]["name"].partition(".")[0]] if ":" in str(shown.get("method")) else []
    found = config.check(config.compose(shown, base), "fit", trust)
    assert [str(problem) for problem in found] == []


# ------------------------------------------------------------------ tables, paths, links


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return script("docs_tables")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_generated_tables_are_current(page: Path, tables: ModuleType) -> None:
    """Keys exactly; of lists (a new method edits no page) each line must still be true."""
    for kind, name, shown in tables.TABLE.findall(page.read_text(encoding="utf-8")):
        now = tables.table(kind, name).splitlines()
        stale = [line for line in shown.splitlines() if line not in now]
        assert not stale, f"{name}: {stale}; run `python scripts/docs_tables.py`"
        assert kind == "list" or shown.splitlines() == now, f"{name}: run scripts/docs_tables.py"
        assert len(shown.splitlines()) > 2, f"{name} is empty; run `python scripts/docs_tables.py`"


def test_the_reference_says_what_the_docstrings_say(tables: ModuleType) -> None:
    """Section by section: a new method need not be in it yet."""
    shown = tables.REFERENCE.read_text(encoding="utf-8").split("\n## ")
    now = tables.reference().rstrip().split("\n## ")
    assert len(shown) > 3
    stale = [part.partition("\n")[0] for part in shown if part.rstrip() not in map(str.rstrip, now)]
    assert not stale, f"{stale}: run `python scripts/docs_tables.py`"


def test_the_learning_matrix_is_what_was_measured() -> None:
    bench = script("bench_methods")
    page = bench.PAGE.read_text(encoding="utf-8")
    rows = bench.rows()
    assert len(rows) > 10
    for data in {row["data"] for row in rows}:
        assert f"<!-- matrix: {data} -->\n{bench.table(data)}\n<!-- end -->" in page, data
    assert {row["method"] for row in rows} <= set(bench.quick_methods())
    assert set(bench.quick_methods()) == set(sslight.registry.names("method"))


def test_paths_exist() -> None:
    named = re.compile(r"(?<![\w/.-])(?:tests|scripts|configs|sslight)/[\w./-]*\w")
    invented = {"mymethod", "mysource", "my_callback", "my_protocol", "_configs"}
    for page in PROSE:
        for path in named.findall(page.read_text(encoding="utf-8")):
            if Path(path).stem in invented:
                continue
            assert (REPOSITORY / path).exists(), f"{page.name} names {path}"


def test_links_lead_somewhere() -> None:
    for page in PROSE:
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
            file, _, heading = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), f"{page.name}: {link}"
            assert not heading or heading in anchors(target), f"{page.name}: {link}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tree_of_the_architecture_is_the_package() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = next(match[2] for match in BLOCK.finditer(text) if match[2].startswith("sslight/"))
    open_folders: dict[int, str] = {}
    shown = set()
    for line in tree.splitlines():
        depth, name = len(line) - len(line.lstrip()), line.split()[0]
        parents = [folder for d, folder in sorted(open_folders.items()) if d < depth]
        shown.add("".join([*parents, name]))
        open_folders = {d: f for d, f in open_folders.items() if d < depth}
        if name.endswith("/"):
            open_folders[depth] = name
    absent = [path for path in shown if not (REPOSITORY / path).exists()]
    assert not absent
    package = REPOSITORY / "sslight"
    top = {f"sslight/{path.name}{'/' * path.is_dir()}" for path in package.iterdir()}
    unsaid = {path for path in top - shown if not Path(path).name.startswith((".", "__pyc"))}
    assert unsaid <= {"sslight/py.typed", "sslight/_configs/"}
