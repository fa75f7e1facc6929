from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning  # noqa: F401  (sets environment variables when it is first imported)

import sslight
from sslight import cli
from sslight.config import ConfigError, Problem

FIVE = """\
method: {name: simclr, temprature: 0.1}
backbone: {name: resnet81}
data:
  train: {name: folder, root: /there/is/no/such/folder}
  batch_size: many
optim: {optimizer: adamv}
trainer: {max_epoch: 3}
"""


def run(*words: str, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sslight", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(sslight.__file__).parents[1])}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=120, env=environment
    )


@pytest.fixture
def calls(monkeypatch):
    """Replace sslight.run by a recorder."""
    seen: list[tuple] = []

    def record(name):
        def call(config, **options):
            seen.append((name, dict(config) if isinstance(config, dict) else config, options))
            return f"result of {name}"

        return call

    names = ("fit", "extract", "evaluate", "plan", "examine")
    fake = SimpleNamespace(**{name: record(name) for name in names})
    monkeypatch.setitem(sys.modules, "sslight.run", fake)
    monkeypatch.setattr(sslight, "run", fake, raising=False)
    return seen


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("seed: 1\n")
    return str(path)


# ---------------------------------------------------------------- words to calls


def test_fit(calls, config_file):
    words = ["fit", "a.b=1", "--config", config_file, "seed=2", "--trust", "mine", "c=[1]"]
    assert cli.main([*words, "--accept", "optim.lr", "--trust", "other", "d=x"]) == 0
    ((name, config, options),) = calls
    assert name == "fit"
    assert config == {"seed": 2, "a": {"b": 1}, "c": [1], "d": "x"}
    assert options == {"trust": ["mine", "other"], "accept": ["optim.lr"]}


def test_extract(calls, config_file, capsys):
    assert cli.main(["extract", "--config", config_file, "--weights", "ema", "seed=3"]) == 0
    assert calls == [("extract", {"seed": 3}, {"weights": "ema", "trust": []})]
    assert capsys.readouterr().out == "result of extract\n"


@pytest.mark.parametrize(
    ("words", "called"),
    [
        ([], ("plan", {"trust": []})),
        (["--run"], ("examine", {"trust": [], "images": 500})),
        (["--run", "--images", "9"], ("examine", {"trust": [], "images": 9})),
    ],
)
def test_check_runs_nothing_unless_it_is_told_to(calls, words, called, monkeypatch):
    monkeypatch.setattr("sslight.config.checked", lambda *_, **__: {})
    examined = SimpleNamespace(problems=[])
    if called[0] == "examine":
        real = sys.modules["sslight.run"].examine
        monkeypatch.setattr(
            sys.modules["sslight.run"], "examine", lambda *a, **k: (real(*a, **k), examined)[1]
        )
    assert cli.main(["check", "--config", "quickstart", *words]) == 0
    ((name, _, options),) = calls
    assert (name, options) == called


def test_eval(calls, config_file):
    words = ["eval", "knn", "--config", config_file, "linear", "seed=3", "--with", "random"]
    assert cli.main([*words, "--seeds", "2", "--with", "a.ckpt"]) == 0
    ((name, config, options),) = calls
    assert (name, config) == ("evaluate", config_file)
    assert options == {
        "protocols": ["knn", "linear"],
        "overrides": ["seed=3"],
        "compare": ["random", "a.ckpt"],
        "seeds": 2,
        "weights": None,
        "trust": [],
    }
    assert cli.main(["eval", "knn", "backbone=resnet18", "init=random"]) == 0
    assert calls[-1][1] is None


def test_eval_takes_the_folder_of_a_feature_store(monkeypatch, tmp_path, capsys):
    seen = []
    fake = SimpleNamespace(evaluate=lambda config, **options: seen.append((config, options)))
    monkeypatch.setitem(sys.modules, "sslight.run", fake)
    monkeypatch.setattr(sslight, "run", fake, raising=False)
    (tmp_path / "manifest.json").touch()
    assert cli.main(["eval", "knn", "--config", str(tmp_path)]) == 0
    ((config, options),) = seen
    assert config == str(tmp_path)
    assert options["protocols"] == ["knn"]
    assert cli.main(["eval", "--config", str(tmp_path), "eval.knn.k=3"]) == 2
    assert "eval.knn.k=3 changes nothing" in capsys.readouterr().err


def test_check_prints_problems_before_it_plans(calls, config_file, capsys):
    assert cli.main(["check", "--config", config_file]) == 2
    assert calls == []
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["method", "backbone", "data"]


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fitt"], "no command 'fitt'. Did you mean 'fit'?"),
        (["fit"], "required: --config"),
        (["eval", "knn"], "say what to evaluate"),
        (
            ["fit", "--config", "x", "--trsut", "y"],
            "unknown option '--trsut'. Did you mean '--trust'?",
        ),
        (["fit", "--config", "x", "word"], "what is 'word'?"),
        (["fit", "--config", "no/such"], "no config 'no/such'"),
        (["fit", "--config", "{file}", "=1"], "'=1' is not an override"),
        (["eval", "--config", "x", "--accept", "y"], "unknown option '--accept'"),
        (["extract", "--config", "x", "--weights", "emma"], "invalid choice: 'emma'"),
        (["list", "metods"], "Did you mean 'methods'?"),
        (["list", "methods", "--markdwn"], "Did you mean '--markdown'?"),
        ([], "write a command"),
    ],
)
def test_usage_errors(words, said, capsys, config_file):
    assert cli.main([word.format(file=config_file) for word in words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([Problem("a", "wrong.")]), 2),
        (ValueError("wrong."), 1),
        (FileNotFoundError("x.ckpt"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error, code, calls, config_file, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(sys.modules["sslight.run"], "fit", fail)
    assert cli.main(["fit", "--config", config_file]) == code
    assert "Traceback" not in capsys.readouterr().err
    assert cli.main(["fit", "--config", config_file, "--debug"]) == code
    assert ("Traceback" in capsys.readouterr().err) == (code != 130)


def test_a_signal_s_exit_passes_through(calls, config_file, monkeypatch):
    def leave(*_, **__):
        raise SystemExit(143)

    monkeypatch.setattr(sys.modules["sslight.run"], "fit", leave)
    with pytest.raises(SystemExit) as error:
        cli.main(["fit", "--config", config_file])
    assert error.value.code == 143


# ---------------------------------------------------------------- the real command


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from sslight.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'omegaconf', 'yaml', 'pytorch_lightning', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sslight fit --config quickstart" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"sslight \S+\n", done.stdout)


def test_five_mistakes_are_five_lines(tmp_path):
    (tmp_path / "five.yaml").write_text(FIVE)
    done = run("fit", "--config", "five.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    expected = [
        ("five.yaml:1: method.temprature: unknown key.", "Did you mean 'temperature'?"),
        ("five.yaml:2: backbone.name: unknown backbone 'resnet81'.", "Did you mean 'resnet"),
        ("five.yaml:5: data.batch_size: got 'many'; expected an integer", ""),
        ("five.yaml:6: optim.optimizer: unknown optimizer 'adamv'.", "Did you mean 'adam'?"),
        ("five.yaml:7: trainer.max_epoch: unknown key.", "Did you mean 'max_epochs'?"),
    ]
    assert len(lines) == 5, done.stderr
    for line, (start, hint) in zip(lines, expected, strict=True):
        assert line.startswith(start)
        assert hint in line
    assert [path.name for path in tmp_path.iterdir()] == ["five.yaml"]


@pytest.mark.parametrize("name", ["os.system", "torch.load", "os:system", "torch:load"])
def test_hostile_names_are_refused(name, tmp_path, monkeypatch, capsys):
    text = FIVE.replace("simclr, temprature: 0.1", f"'{name}'").replace("resnet81", "resnet18")
    text = text.replace("many", "8").replace("adamv", "adamw").replace("max_epoch", "max_epochs")
    (tmp_path / "hostile.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    words = ["check", "--config", "hostile.yaml", "--trust", "os", "--trust", "torch"]
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hostile.yaml:1: method.name: '{name}' is refused: ")
