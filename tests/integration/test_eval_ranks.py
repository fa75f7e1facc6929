"""Figures do not know how many ranks there were: nothing is padded, dropped or counted twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cli_server import CliServer

#: 33 test images on two ranks and batches of 8: one rank has a row more, and both have a tail.
CONFIG = """
method: {name: simclr}
backbone: {name: resnet10, width: 4, stem: small}
data:
  train: {name: shapes, num_images: 45, size: 16}
  test: {name: shapes, num_images: 33, size: 16}
  views: {name: simclr, size: 16}
  batch_size: 8
  workers: 0
init: random
trainer: {accelerator: cpu, precision: 64-true}
eval:
  knn: {k: [1, 5]}
  linear: {epochs: 5}
  linear_images: {epochs: 4, batch_size: 8, lr: 1.0}
  semi_supervised: {percent: [50], epochs: 3, lr: 0.5}
"""
PROTOCOLS = ("knn", "linear", "linear_images", "semi_supervised")


@pytest.mark.ranks
@pytest.mark.slow
def test_two_ranks_give_the_figures_of_one(cli: CliServer, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(CONFIG)
    one, two = tmp_path / "one", tmp_path / "two"
    argv = ["eval", "--config", "my.yaml"]
    ended = cli.run([*argv, f"run_dir={one}"], tmp_path)
    assert ended.code == 0, ended.output
    done = subprocess.run(
        [sys.executable, "-m", "sslight", *argv, f"run_dir={two}", "trainer.devices=2"],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("linear_images: 33 images") == 1  # one rank prints
    for protocol in PROTOCOLS:
        left, right = (json.loads((run / "eval" / f"{protocol}.json").read_text())
                       for run in (one, two))  # fmt: skip
        assert left["metrics"] == pytest.approx(right["metrics"], abs=1e-9), protocol
        assert left["n"] == right["n"] == 33
        for name, value in left["metrics"].items():
            assert value * 33 == pytest.approx(round(value * 33), abs=1e-4), name
    assert_same_heads(one, two)


def assert_same_heads(one: Path, two: Path) -> None:
    """Gradients, and batch norm's statistics before the heads, are those of the whole batch."""
    left, right = (
        torch.load(next(run.glob("eval/linear_images-*/checkpoints/*.ckpt")), weights_only=True)
        for run in (one, two)
    )
    heads = [name for name in left["state_dict"] if name.startswith("head.")]
    assert len(heads) > 7
    for name in heads:
        a, b = (run["state_dict"][name] for run in (left, right))
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
