"""What a Tab gives, and that a real shell takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning  # noqa: F401  (sets environment variables when it is first imported)

import sslight
from sslight import cli
from sslight.commands import COMMANDS
from sslight.commands._completion import SCRIPTS, candidates
from sslight.registry import names

REPOSITORY = Path(sslight.__file__).parents[1]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", sorted(COMMANDS)),
        ("ex", ["export", "extract"]),
        ("--v", ["--version"]),
        ("fit --conf", ["--config"]),
        ("fit --config quick", ["quickstart"]),
        ("extract --weights e", ["ema"]),
        ("init --method by", ["byol"]),
        ("eval kn", ["knn"]),
        ("list ev", ["evals"]),
        ("completion z", ["zsh"]),
        ("fit optim.lr", ["optim.lr="]),
        ("fit opt", ["optim."]),
        ("fit --config quickstart callbacks.knn.k", ["callbacks.knn.k="]),
        ("fit data.workers", ["data.workers="]),
        ("fit data.train.ro", ["data.train.root="]),
        ("nothing like it ", []),
        ("fit optim.lr=0.", []),
    ],
)
def test_words(typed, found):
    assert candidates(typed.split(" ")) == found


def test_a_label_offers_the_keys_of_its_member():
    offered = candidates(["fit", "callbacks.knn."])
    assert "callbacks.knn.temperature=" in offered
    assert not [word for word in offered if "decay" in word]  # ema_weights' key


def test_every_command_and_method_is_offered():
    for command in COMMANDS:
        assert "--debug" in candidates([command, "--"]), command
    assert candidates(["init", "--method", ""]) == sorted(names("method"))


def test_a_tab_imports_nothing_heavy():
    code = (
        "import sys; from sslight.commands._completion import candidates\n"
        "for words in (['fit', 'optim.'], ['fit', '--config', ''], ['eval', '']): candidates(words)"
        "\nprint(sorted({'torch', 'numpy', 'omegaconf', 'yaml', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['yaml']"), done.stdout  # yaml: names of configs


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_scripts_are_printed_and_a_shell_that_is_there_reads_them(shell, capsys, tmp_path):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "sslight completion words" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True, timeout=30)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes(tmp_path):
    command = tmp_path / "sslight"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sslight "$@"\n')
    command.chmod(0o755)
    code = """
        eval "$(sslight completion bash)"; compopt() { :; }
        COMP_WORDS=(sslight fit optim.l); COMP_CWORD=2; _sslight; echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.stdout.split() == ["optim.larc=", "optim.layer_decay=", "optim.lr="], done.stderr
