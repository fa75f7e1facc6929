from __future__ import annotations

import importlib

import pytest

from sslight import config
from sslight.config import ConfigError

module = importlib.import_module(
    "sslight.config.compose"
)  # the package exports a function so named


def test_bases_stack_and_the_child_wins(write):
    write("seed: 1\noptim: {lr: 0.1, warmup_epochs: 5}\n", "base/a.yaml")
    write("seed: 2\n", "base/b.yaml")
    path = write("_base_: [base/a.yaml, base/b.yaml]\noptim: {lr: 0.2}\n")
    composed = config.load(path)
    assert composed == {"seed": 2, "optim": {"lr": 0.2, "warmup_epochs": 5}}
    assert composed.origins["optim.lr"] == f"{path}:2"
    assert composed.origins["seed"].endswith("b.yaml:1")
    assert composed.name == "my"


def test_bases_are_relative_to_the_file_that_names_them(write, tmp_path, monkeypatch):
    write("seed: 1\n", "x/base.yaml")
    write("_base_: base.yaml\n", "x/mid.yaml")
    path = write("_base_: x/mid.yaml\n")
    monkeypatch.chdir(tmp_path.parent)
    assert config.load(path) == {"seed": 1}


def test_a_circle_is_found(write):
    write("_base_: b.yaml\n", "a.yaml")
    path = write("seed: 1\n_base_: a.yaml\n", "b.yaml")
    with pytest.raises(ConfigError, match=r"include each other: b.yaml -> a.yaml -> b.yaml"):
        config.load(path)


def test_a_missing_base_names_the_line(write):
    path = write("seed: 1\n_base_: nope.yaml\n")
    with pytest.raises(ConfigError, match=r"my.yaml:2: _base_: no config 'nope.yaml'"):
        config.load(path)


def test_shipped_names_and_suggestions(write, tmp_path, monkeypatch):
    write("seed: 5\n", "shipped/simclr/folder.yaml")
    monkeypatch.setattr(module, "SHIPPED", (tmp_path / "absent", tmp_path / "shipped"))
    assert config.load("simclr/folder") == {"seed": 5}
    assert config.load("simclr/folder.yaml").name == "simclr/folder"
    assert config.load(write("_base_: simclr/folder\n")) == {"seed": 5}
    with pytest.raises(ConfigError, match="Did you mean 'simclr/folder'"):
        config.load("simclr/foldr")


def test_a_file_wins_over_a_shipped_name(write, tmp_path, monkeypatch):
    write("seed: 5\n", "shipped/mine.yaml")
    write("seed: 6\n", "mine.yaml")
    monkeypatch.setattr(module, "SHIPPED", (tmp_path / "shipped",))
    monkeypatch.chdir(tmp_path)
    assert config.load("mine.yaml") == {"seed": 6}
    assert config.load("mine") == {"seed": 5}


def test_a_near_file_is_suggested(write):
    path = write("seed: 1\n")
    with pytest.raises(ConfigError, match=r"Did you mean '.*my\.yaml'"):
        config.load(path.with_suffix(""))


def test_a_run_s_folder_is_a_config(write):
    path = write("seed: 3\n", "runs/first/config.yaml")
    composed = config.load(path.parent)
    assert composed == {"seed": 3}
    assert composed.name == "first"


def test_a_run_that_was_moved_is_where_it_is(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "x"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)
    assert "run_dir" not in config.compose("runs/x")
    monkeypatch.chdir(run)
    assert config.compose("../x")["run_dir"] == "../x"
    (run / "config.yaml").write_text(f"run_dir: {tmp_path / 'elsewhere'}\n")
    assert config.compose(run)["run_dir"] == str(run)
    assert config.compose(run, ["run_dir=there"])["run_dir"] == "there"
    (run / "config.yaml").write_text(f"run_dir: {run}\n")
    assert config.compose("../x")["run_dir"] == str(run)


def test_a_mapping_composes_too():
    composed = config.compose({"backbone": "tiny", "seed": 1}, ["seed=2"])
    assert composed == {"backbone": {"name": "tiny"}, "seed": 2}
    assert composed.origins["seed"] == "command line"
    assert config.compose(composed, ["seed=3"])["seed"] == 3


def test_saving_and_loading_gives_the_same_dict(write, tmp_path):
    text = (
        "run_dir: 007\nseed: '7'\nt: 12:30:45\nx: no\nw: 1e-6\nv: 1.0e-6\nb: true\nq: 'true'\n"
        "n: null\nd: 2020-01-01\ni: ${seed}\nm: ???\nl: [1, 0.5, {a: 'yes'}]\nu: 'é: #'\n"
    )
    composed = config.load(write(text))
    config.save(composed, tmp_path / "saved.yaml")
    again = config.load(tmp_path / "saved.yaml")
    assert config.flatten(again) == config.flatten(composed)
    assert again["i"] == "${seed}"
    assert again["run_dir"] == "007"


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not a UTF-8 text file"):
        config.load(path)


def test_shipped_configs_of_two_methods_have_two_names_and_folders(tmp_path, monkeypatch):
    assert config.load("quickstart").name == "quickstart"
    assert {config.load(f"{m}/shapes").name for m in ("simclr", "byol")} == {
        "simclr/shapes",
        "byol/shapes",
    }
    run = tmp_path / "runs" / "byol" / "shapes"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)
    assert config.compose("runs/byol/shapes")["run_dir"] == "runs/byol/shapes"
