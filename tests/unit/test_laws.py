"""The laws of the house (ARCHITECTURE.md), read out of every source file."""

from __future__ import annotations

import ast
import inspect
import json
import re
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "sslight"
FILES = sorted(PACKAGE.rglob("*.py"))

#: What the torch-only halves may import of sslight: each other, and the two records.
HALVES = ("losses", "modules", "schedules", "augment", "distributed")
HALVES_MAY = {*(f"sslight.{half}" for half in HALVES), "sslight.types"}
#: Who turns configs into objects; ``scaffold`` reads and writes them.
BUILDERS = {"cli", "commands", "config", "run", "registry", "scaffold"}
#: Who may write YAML text beside them.
WRITES_YAML = {"reports"}
#: Packages that sslight runs without.
OPTIONAL = (
    *("timm", "sklearn", "datasets", "lightly", "pandas", "pyarrow", "faiss"),
    *("onnx", "onnxruntime", "onnxscript", "umap"),
)
#: Tests whose subject is not one source file.
CROSSCUTTING = {
    "test_laws.py": "sslight",
    "test_package.py": "sslight/__init__.py",
    "test_ranks.py": "tests/ranks.py",
    "callbacks/test_host_reads.py": "sslight/callbacks",
    "callbacks/test_two_ranks.py": "sslight/callbacks",
    "eval/test_knn_eval.py": "sslight/eval/knn.py",
    "run/test_fit_in_words.py": "sslight/run/fit.py",
}


def part(path: Path) -> str:
    """The first name below the package: ``losses``, ``cli``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(node: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Full dotted names: ``from sslight.losses import byol`` gives ``sslight.losses.byol``."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from ((alias.name, found) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert not found.level, "imports are absolute"
            yield from ((f"{found.module}.{alias.name}", found) for alias in found.names)


def inside_functions(path: Path) -> set[ast.AST]:
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, FUNCTIONS)]
    return {node for function in functions for node in ast.walk(function)}


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_trees: dict[Path, ast.Module] = {}


def tree_of(path: Path) -> ast.Module:
    if path not in _trees:
        _trees[path] = ast.parse(path.read_text(encoding="utf-8"))
    return _trees[path]


def in_package(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(REPOSITORY)}:{getattr(node, 'lineno', 0)}"


def run_python(code: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_there_are_files_to_judge():
    assert len(FILES) > 100
    assert set(HALVES) | BUILDERS <= {part(path) for path in FILES}


# ------------------------------------------------------------------ law 1: who knows whom


def test_the_torch_only_halves_import_torch_only():
    halves = [path for path in FILES if part(path) in HALVES]
    assert len(halves) > 25
    for path in halves:
        for name, node in imports(tree_of(path)):
            top = name.partition(".")[0]
            fine = top in {"torch", "torchvision", "numpy"} | sys.stdlib_module_names
            fine = fine or any(in_package(name, allowed) for allowed in HALVES_MAY)
            assert fine, f"{where(path, node)} imports {name}"


def test_importing_the_halves_loads_no_lightning():
    names = [module_name(path) for path in FILES if part(path) in HALVES]
    code = """
        import importlib, sys
        for name in sys.argv[1:]:
            importlib.import_module(name)
        print(*{name.partition(".")[0] for name in sys.modules})
    """
    loaded = set(run_python(code, *names).split())
    assert "torch" in loaded
    assert not loaded & {"pytorch_lightning", "lightning", "omegaconf", "yaml", *OPTIONAL}


def test_only_the_builders_build_from_configs():
    """Elsewhere neither omegaconf nor what builds, resolves or loads a config is used."""
    forbidden = [
        *("sslight.config.build", "sslight.config.build_members", "sslight.config.make"),
        *("sslight.config.load", "sslight.config.compose", "sslight.config.trainer_arguments"),
        *("sslight.config.Config", "sslight.registry.resolve", "sslight.run"),
    ]
    others = [path for path in FILES if part(path) not in {*BUILDERS, "__init__", "__main__"}]
    assert len(others) > 80
    for path in others:
        for name, node in imports(tree_of(path)):
            assert not name.startswith("omegaconf"), f"{where(path, node)}: {name}"
            assert name != "yaml" or part(path) in WRITES_YAML, f"{where(path, node)}: {name}"
            assert name not in ("sslight.config", "sslight.registry"), where(path, node)
            assert not any(in_package(name, f) for f in forbidden), f"{where(path, node)}: {name}"


def test_no_config_object_enters_a_class():
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.arg) and node.annotation is not None and part(path) != "config":
                annotation = ast.unparse(node.annotation)
                assert not re.search(r"\b(DictConfig|OmegaConf)\b", annotation), where(path, node)
                if part(path) not in BUILDERS:
                    assert "Config" not in annotation, f"{where(path, node)}: {annotation}"


# ------------------------------------------------------------------ law 3 and 5: importing

SNAPSHOT = """
    import importlib, importlib.abc, json, logging, os, signal, sys, threading, warnings

    class Missing(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in BLOCKED:
                raise ModuleNotFoundError(f"blocked: {name}", name=name)

    modules, BLOCKED = json.loads(sys.argv[1])
    # What others do when they are imported is not ours to answer for.
    import numpy, omegaconf, rich, safetensors.torch, torch, torchmetrics.classification
    import torchvision.transforms.v2, torchvision.models, torchvision.datasets, yaml
    import pytorch_lightning.callbacks, pytorch_lightning.loggers, pytorch_lightning.strategies
    import pytorch_lightning.plugins.environments, torch.utils.tensorboard
    import torch.distributed.fsdp, torch.optim, torch.multiprocessing, torch._dynamo

    sys.meta_path.insert(0, Missing())
    for name in [name for name in sys.modules if name.partition(".")[0] in BLOCKED]:
        del sys.modules[name]

    def picture():
        logger = logging.getLogger()
        return {
            "threads": sorted(t.name for t in threading.enumerate()),
            "dtype": str(torch.get_default_dtype()),
            "device": str(torch.get_default_device()),
            "num_threads": torch.get_num_threads(),
            "interop": torch.get_num_interop_threads(),
            "grad": torch.is_grad_enabled(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "matmul": torch.get_float32_matmul_precision(),
            "benchmark": torch.backends.cudnn.benchmark,
            "rng": torch.get_rng_state().sum().item(),
            "numpy": str(numpy.random.get_state()[1].sum()),
            "sharing": torch.multiprocessing.get_sharing_strategy(),
            "default process group": torch.distributed.is_initialized(),
            "resolvers": sorted(omegaconf.basecontainer.BaseContainer._resolvers),
            "handlers": [len(logger.handlers), len(logging.getLogger("sslight").handlers)],
            "levels": [logger.level, logging.getLogger("sslight").level],
            "signals": [str(signal.getsignal(number)) for number in (2, 10, 15)],
            "environment": dict(os.environ),
            "path": list(sys.path),
            "finders": len(sys.meta_path),
            "filters": len(warnings.filters),
            "start": torch.multiprocessing.get_start_method(allow_none=True),
            "recursion": sys.getrecursionlimit(),
        }

    before = picture()
    MUTANT
    for name in modules:
        importlib.import_module(name)
    after = picture()
    from sslight import registry, train_steps
    print(json.dumps({
        "changed": sorted(k for k in before if before[k] != after[k]),
        "registered": [str(k) for k in registry._registered],
        "train_steps": sorted(train_steps.TRAIN_STEPS),
        "loaded": sorted({name.partition(".")[0] for name in sys.modules} & set(BLOCKED)),
        "count": len([name for name in sys.modules if name.startswith("sslight")]),
    }))
"""


def import_everything(mutant: str = "") -> dict:
    names = [module_name(path) for path in FILES if path.stem != "__main__"]
    code = textwrap.dedent(SNAPSHOT).replace("MUTANT", mutant)
    out = run_python(code, json.dumps([names, OPTIONAL]))
    return json.loads(out.splitlines()[-1])


def test_importing_every_module_changes_nothing_and_needs_no_extra():
    seen = import_everything()
    assert seen["count"] >= len(FILES) - 1
    assert seen["changed"] == []
    assert seen["registered"] == []
    assert seen["train_steps"] == ["gradcache", "standard"]
    assert seen["loaded"] == []


def test_the_picture_would_show_a_change():
    mutant = (
        "torch.set_num_threads(torch.get_num_threads() + 1); torch.rand(1);"
        " os.environ['X_SSLIGHT'] = '1';"
        " threading.Thread(target=threading.Event().wait, daemon=True).start();"
        " from sslight.registry import register;"
        " from sslight.train_steps import register_train_step;"
        " register_train_step('late')(lambda method, batch: None)"
    )
    seen = import_everything(mutant)
    assert {"threads", "num_threads", "rng", "environment"} <= set(seen["changed"])
    assert "late" in seen["train_steps"]


def test_import_sslight_loads_nothing_heavy():
    loaded = set(run_python("import sys, sslight; print(*sys.modules)").split())
    assert "sslight" in loaded
    assert not loaded & {"torch", "numpy", "pytorch_lightning", "omegaconf", "torchvision", "yaml"}


def test_optional_packages_are_imported_in_functions():
    found = 0
    for path in FILES:
        inner = inside_functions(path)
        for name, node in imports(tree_of(path)):
            if name.partition(".")[0] in OPTIONAL:
                found += 1
                assert node in inner, f"{where(path, node)} imports {name} at import time"
    assert found >= 2


def test_no_statement_acts_at_import():
    """A bare call at the top level of a module does something; only docstrings are expressions."""
    for path in FILES:
        for node in tree_of(path).body:
            acts = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not acts or path.stem == "__main__", where(path, node)


# ------------------------------------------------------------------ law 4: inheritance


def test_methods_inherit_from_sslmodule_and_nothing_else():
    from sslight import registry
    from sslight.module import SSLModule

    names = registry.names("method")
    assert len(names) >= 3
    for name in names:
        assert registry.resolve("method", name).__bases__ == (SSLModule,), name


def test_no_method_knows_another():
    files = [path for path in FILES if part(path) == "methods"]
    for path in files:
        for name, node in imports(tree_of(path)):
            assert not name.startswith("sslight.methods"), where(path, node)


# ------------------------------------------------------------------ law 6: sizes


def lengths() -> list[tuple[int, str]]:
    """Lines of each function, without its docstring."""
    found = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, FUNCTIONS):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
                found.append((lines, f"{where(path, node)} {node.name}"))
    return sorted(found)


def test_files_are_short():
    long = {str(p.relative_to(REPOSITORY)): n for p in FILES if (n := lines_of(p)) >= 300}
    assert not long


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_functions_fit_a_screen():
    found = lengths()
    assert len(found) > 1000
    counts = [n for n, _ in found]
    assert statistics.median(counts) <= 8
    assert counts[int(0.9 * len(counts))] <= 30
    assert found[-1][0] <= 60, found[-1]


# ------------------------------------------------------------------ habits


def test_no_assert_in_the_package():
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            assert not isinstance(node, ast.Assert), where(path, node)


def test_nothing_a_yaml_can_name_swallows_keys():
    """No ``**kwargs`` in any family's members, nor in the classes that are sections' schemas."""
    from sslight import registry
    from sslight.config import sections
    from sslight.strategies import STRATEGIES

    things = [
        (f"{family} {name}", registry.resolve(family, name))
        for family in registry.FAMILIES
        for name in registry.names(family)
    ]
    things += [(name, sections.section_class(name)) for name in ("data", "optim", "extract")]
    things += list(STRATEGIES.items())
    assert len(things) > 60
    for name, thing in things:
        kinds = {p.kind for p in inspect.signature(thing).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds, name


#: Calls that make the host wait for a tensor on the device.
READS = {"item", "tolist", "numpy", "cpu", "nonzero"}


def host_reads(module: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in READS:
            yield node
        elif isinstance(function, ast.Name) and function.id in ("float", "int", "bool"):
            yield from () if _is_host_value(node.args[0]) else (node,)


def _is_host_value(argument: ast.expr) -> bool:
    """A literal, or something made of plain attributes of ``self`` and of comparisons of names."""
    text = ast.unparse(argument)
    return isinstance(argument, ast.Constant) or text in {"self.num_classes or 0", "cutmix > 0"}


def test_training_code_never_reads_a_tensor():
    files = [path for path in FILES if part(path) in ("methods", "losses", "modules")]
    assert len(files) > 10
    for path in files:
        for node in host_reads(tree_of(path)):
            pytest.fail(f"{where(path, node)}: {ast.unparse(node)} makes the host wait")


def test_a_read_would_be_found():
    code = "def loss(x):\n    a = x.item()\n    return float(x.mean()), int(x.sum()), x.cpu(), 2.0"
    assert len(list(host_reads(ast.parse(code)))) == 4


#: Where nothing happens within a training step.
BETWEEN_STEPS = {"kmeans.py", "pca.py"}


def host_uploads(module: ast.Module) -> Iterator[ast.Call]:
    """Tensors made of host values on a device: CUDA waits for all that was asked for before."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "torch.tensor",
            "torch.as_tensor",
        }:
            yield from (node for keyword in node.keywords if keyword.arg == "device")


def test_training_code_never_waits_to_hand_values_over():
    parts = ("methods", "losses", "modules", "augment", "optim")
    for path in (path for path in FILES if part(path) in parts):
        for node in host_uploads(tree_of(path)) if path.name not in BETWEEN_STEPS else ():
            pytest.fail(f"{where(path, node)}: {ast.unparse(node)}; use modules.upload.uploaded")


def test_an_upload_would_be_found():
    code = "def loss(x):\n    return torch.as_tensor(2, device=x.device), torch.tensor(3.0)"
    assert len(list(host_uploads(ast.parse(code)))) == 1


def test_lightnings_private_names_stay_in_strategies():
    private = re.compile(r"trainer\._|fit_loop\b|epoch_loop\b|_logger_connector|_data_connector")
    users = {part(path) for path in FILES if private.search(path.read_text(encoding="utf-8"))}
    assert users == {"strategies"}


# ------------------------------------------------------------------ the repository


def tracked() -> list[Path]:
    """Files in git, and new ones that it does not ignore."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        folders = ("sslight", "tests", "configs", "scripts", "docs")
        return [p for f in folders for p in (REPOSITORY / f).rglob("*") if p.is_file()]
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [path for name in names if (path := REPOSITORY / name).is_file()]


def test_no_machine_is_named():
    forbidden = [r"/wo" + r"rk/", r"/tm" + r"p/v\b", r"/ro" + r"ot\b", r"/ho" + r"me/(?!user)"]
    pattern = re.compile("|".join(forbidden))
    files = [path for path in tracked() if path.suffix not in (".png", ".jpg", ".safetensors")]
    assert len(files) > 150
    found = []
    for path in files:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}")
    assert not found


def test_every_unit_test_has_its_subject():
    unit = REPOSITORY / "tests" / "unit"
    tests = sorted(unit.rglob("test_*.py"))
    assert len(tests) > 60
    orphans = [str(path.relative_to(unit)) for path in tests if not subject(path, unit).exists()]
    assert not orphans, f"{orphans} mirror nothing below sslight/"


def subject(test: Path, unit: Path) -> Path:
    """``data/test_index.py`` is about ``data/index.py``, ``eval/test_eval.py`` about ``eval/``."""
    relative = test.relative_to(unit)
    if relative.as_posix() in CROSSCUTTING:
        return REPOSITORY / CROSSCUTTING[relative.as_posix()]
    name = test.stem.removeprefix("test_")
    folder = PACKAGE / relative.parent
    choices = [folder / f"{name}.py", folder / f"_{name}.py", folder / name]
    if folder.name == name:
        choices.append(folder)
    return next((path for path in choices if path.exists()), choices[0])
