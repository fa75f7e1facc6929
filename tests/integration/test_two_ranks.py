"""Two gloo ranks are one process with the whole batch: same data, losses, weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cli_server import CliServer
from runs import assert_same_run, last_checkpoint, metric_rows

TESTS = Path(__file__).parent.parent

CONFIG = """
seed: 1
method: {{name: {method}, hidden_dim: 16, out_dim: 8}}
backbone: {{name: resnet18, stem: small, width: 4}}
data:
  train: {{name: shapes, num_images: 33, size: 16}}
  test: {{name: shapes, num_images: 13, size: 16}}
  views: {{name: simclr, size: 16}}
  batch_size: 8
  workers: 0
optim: {{optimizer: sgd, lr: 0.05, weight_decay: 1.0e-4}}
trainer: {{max_epochs: 2, log_every_n_steps: 1, accelerator: cpu, precision: 64-true,
           gradient_clip_val: 1.0, sync_batchnorm: true}}
callbacks:
  knn: {{k: [5]}}
  checkpoint: {{every_n_steps: 2, keep_last: 9}}
"""

TWO = ["trainer.devices=2"]


def config_file(folder: Path, method: str = "simclr") -> Path:
    path = folder / "tiny.yaml"
    path.write_text(CONFIG.format(method=method))
    return path


def command(config: Path, run: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "sslight", "fit", "--config", str(config), f"run_dir={run}", *more,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def fit(config: Path, run: Path, *more: str) -> int:
    done = subprocess.run(
        command(config, run, *more), env=environment(), capture_output=True, text=True, timeout=200
    )
    if done.returncode not in (0, 143, 130, 138):
        pytest.fail(f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}")
    return done.returncode


def single(cli: CliServer, config: Path, run: Path, *more: str) -> None:
    argv = ["fit", "--config", str(config), f"run_dir={run}", *more]
    ended = cli.run(argv, config.parent, [TESTS])
    assert ended.code == 0, ended.output


def assert_close_runs(left: Path, right: Path) -> None:
    a, b = last_checkpoint(left)["state_dict"], last_checkpoint(right)["state_dict"]
    assert a.keys() == b.keys()
    for key, value in a.items():
        torch.testing.assert_close(b[key], value, rtol=1e-8, atol=1e-10, msg=lambda m, k=key: f"{k}: {m}")
    rows, others = metric_rows(left), metric_rows(right)
    assert [row.keys() for row in rows] == [row.keys() for row in others]
    for row, other in zip(rows, others, strict=True):
        assert other == pytest.approx(row, rel=1e-5, abs=1e-6)


@pytest.mark.ranks
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("simclr", ["trainer.strategy=ddp"]),
        ("simclr", ["trainer.strategy=manual"]),
        ("simclr", ["trainer.strategy=model_parallel"]),
        ("byol", ["trainer.strategy=ddp", "trainer.accumulate_grad_batches=2"]),
        ("byol", ["trainer.strategy=manual", "trainer.accumulate_grad_batches=2"]),
        (
            "byol",
            ["trainer.strategy={name: ddp, bucket_cap_mb: 1, find_unused_parameters: true}"],
        ),
    ],
)
def test_two_ranks_equal_one_process(
    cli: CliServer, tmp_path: Path, method: str, more: list[str]
) -> None:
    config = config_file(tmp_path, method)
    accumulation = [word for word in more if "accumulate" in word]
    single(cli, config, tmp_path / "one", *accumulation)
    assert fit(config, tmp_path / "two", *TWO, *more) == 0
    assert_close_runs(tmp_path / "one", tmp_path / "two")


@pytest.mark.ranks
@pytest.mark.parametrize("to_rank", ["0", "1", "both"])
def test_a_signal_to_any_rank_stops_all(tmp_path: Path, to_rank: str) -> None:
    config, run = config_file(tmp_path), tmp_path / "run"
    straight = tmp_path / "straight"
    more = [*TWO, "trainer.max_epochs=30"]
    assert fit(config, straight, *more) == 0
    process = subprocess.Popen(
        command(config, run, *more),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(list((run / "checkpoints").glob("step_*.ckpt"))) > 1, process)
    ranks = [process.pid, *children(process.pid)]
    assert len(ranks) == 2
    for pid in {"0": ranks[:1], "1": ranks[1:], "both": ranks}[to_rank]:
        os.kill(pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output[-3000:]
    stopped_at = last_checkpoint(run)["global_step"]
    assert stopped_at < 120
    assert fit(config, run, *more) == 0
    assert_same_run(straight, run)


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"it did not come to it:\n{process.communicate()[0][-3000:]}")
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]
