"""The docs are run: Python blocks execute, commands parse, configs pass, tables are current."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cli_server import CliServer
from doc_commands import Shortener, problems, reads_config
from doc_desk import fill, small_runs
from doc_pages import (
    BLOCK,
    ELSEWHERE,
    PAGES,
    REPOSITORY,
    SHELLS,
    Block,
    blocks,
    commands,
    script,
)

import sslight
from sslight import cli as ours
from sslight import config

PROSE = [*PAGES, REPOSITORY / "ARCHITECTURE.md", REPOSITORY / "CHANGELOG.md"]

#: What a fragment of a config is read on top of.
WHOLE = ["method=simclr", "backbone=resnet18", "data.train={name: fake}"]


# ------------------------------------------------------------------ a folder to run them in


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few photos, the files that the docs show, and a small finished run."""
    folder = tmp_path_factory.mktemp("desk") / "project"
    fill(folder)
    before = {name: os.environ.get(name) for name in ("SSLIGHT_CACHE",)}
    os.environ["SSLIGHT_CACHE"] = str(folder / "cache")
    here = Path.cwd()
    os.chdir(folder)
    try:
        small_runs()
    finally:
        os.chdir(here)
        restore(before)
    return folder


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
        if block.page != page or not block.is_run:
            continue
        padding = "\n" * block.line  # so that a traceback shows the page's own line
        exec(compile(padding + block.text, str(page), "exec"), scope)
        ran += 1
    assert ran or not any(block.is_run for block in blocks("python") if block.page == page)


def test_what_is_not_run_has_a_reason_and_is_rare() -> None:
    code = blocks("python", *SHELLS)
    left_out = [block for block in code if not block.is_run]
    assert len(code) >= 20
    assert len(left_out) <= len(code) // 10, [block.where for block in left_out]
    assert all(len(block.reason) > 8 for block in left_out)


def test_the_method_of_the_readme_is_short(inside: Path) -> None:
    method = next(block for block in blocks("python") if block.file)
    assert len([line for line in method.text.splitlines() if line.strip()]) <= 25
    ours = importlib.import_module("mymethods.align").Align
    assert issubclass(ours, sslight.SSLModule)


# ------------------------------------------------------------------ commands and configs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(page: Path, inside: Path, cli: CliServer) -> None:
    """In the order of the page; first the config as shown is checked, then it runs shortened."""
    shortener = Shortener()
    for number, command in enumerate(commands()):
        where, words = command.block.where, command.ours
        if command.block.page != page or not command.block.is_run:
            continue
        if words is None:
            assert command.words[0] in ELSEWHERE, f"{where}: {command.words[0]} is not run; mark it"
            continue
        args = ours._parse(words) if words != ["--version"] else None
        if reads_config(args):
            assert problems(args) == [], where
        extra = shortener.extra(args, command.block.extra, number)
        if command.words[0] in ELSEWHERE and args and args.command != "fit":
            continue
        done = cli.run([*words, *extra], inside, path=[inside])
        said = f"{where}: sslight {shlex.join([*words, *extra])}\n{done.output}"
        assert done.code == (2 if command.block.is_refused else 0), said


def test_there_are_commands() -> None:
    told = {command.ours[0] for command in commands() if command.ours}
    assert told >= {"fit", "extract", "eval", "check", "list", "convert-config"}
    assert len(commands()) > 25


def test_a_wrong_command_would_be_noticed(inside: Path) -> None:
    args = ours._parse(["fit", "--config", "quickstart", "optim.lrr=0.1"])
    assert len(problems(args)) == 1
    with pytest.raises(ours.UsageError):
        ours._parse(["fit", "--confg", "quickstart"])


def test_a_file_is_the_same_wherever_it_is_shown() -> None:
    """Else a reader of two pages, in one folder, would go on with a run of another config."""
    shown: dict[Path, Block] = {}
    for block in blocks("yaml", "python"):
        if block.file:
            first = shown.setdefault(block.file, block)
            assert block.text == first.text, f"{block.where} and {first.where} show {block.file}"
    assert shown


@pytest.mark.parametrize(
    "block",
    [b for b in blocks("yaml") if "vissl" not in str(b.file)],
    ids=lambda block: block.where,
)
def test_configs_pass(block: Block, inside: Path) -> None:
    path = inside / "shown.yaml"
    path.write_text(block.text)
    shown = config.load(path)
    base = [word for word in WHOLE if word.split("=")[0].split(".")[0] not in shown]
    trust = sorted(
        {name.partition(".")[0] for name in re.findall(r"(\w[\w.]*):\w", str(dict(shown)))}
    )
    found = config.check(config.compose(shown, base), "fit", trust)
    assert [str(problem) for problem in found] == []


# ------------------------------------------------------------------ tables, paths, links


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return script("docs_tables")


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


def test_real_images_are_learnt_from_their_own_quick_recipe_where_there_is_one() -> None:
    bench = script("bench_methods")
    own = {name for name in sslight.config.shipped() if name.endswith("/small_images")}
    assert own
    assert {bench.recipe(m, real=True) for m in bench.quick_methods()} >= own
    for method in bench.quick_methods():
        assert bench.recipe(method, real=False) == f"{method}/shapes"


def test_methods_share_an_untrained_baseline_only_if_it_is_the_same() -> None:
    bench = script("bench_methods")

    def evaluated(method: str) -> list[str]:
        return bench.evaluates(bench.composed_and_key(f"{method}/shapes", [])[0])

    assert evaluated("byol") == evaluated("simclr")
    assert evaluated("colorization") != evaluated("simclr")  # sees lightness, in its own view
    assert evaluated("ijepa") != evaluated("simclr")  # another backbone


def test_the_page_of_benchmarks_is_written_from_its_figures() -> None:
    bench = script("bench_tables")
    text = bench.PAGE.read_text(encoding="utf-8")
    assert f"<!-- benchmarks -->\n{bench.tables()}\n<!-- end -->" in text


def test_paths_exist() -> None:
    named = re.compile(r"(?<![\w/.-])(?:tests|scripts|configs|sslight)/[\w./-]*\w")
    invented = {
        "mymethod",
        "mysource",
        "my_callback",
        "my_protocol",
        "my_command",
        "my_format",
        "_configs",
    }
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
    tree = next(match[4] for match in BLOCK.finditer(text) if match[4].startswith("sslight/"))
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
