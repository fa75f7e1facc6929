"""The launch script starts the command that it says, with a launcher that only prints."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from doc_pages import REPOSITORY


def launch(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    fake = tmp_path / "torchrun"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", **settings}
    command = [str(REPOSITORY / "scripts" / "torchrun_example.sh"), "quickstart", "seed=1"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_one_machine(tmp_path: Path) -> None:
    said = launch(tmp_path, DEVICES="4").stdout
    assert "--nnodes 1 --nproc-per-node 4" in said
    ended = "fit --config quickstart trainer.devices=4 trainer.num_nodes=1 seed=1"
    assert said.rstrip().endswith(f"-m sslight {ended}")


def test_two_machines(tmp_path: Path) -> None:
    said = launch(tmp_path, DEVICES="4", NODES="2", HEAD="node0", PORT="1234").stdout
    assert "--nnodes 2" in said
    assert "--rdzv-endpoint node0:1234" in said
    assert "trainer.num_nodes=2" in said


def test_without_a_gpu_it_asks(tmp_path: Path) -> None:
    done = launch(tmp_path, DEVICES="0")
    assert done.returncode == 2
    assert "DEVICES=N" in done.stderr
