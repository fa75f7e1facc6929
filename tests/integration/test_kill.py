"""kill -9 at any moment, the same command again: the same weights, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_server import CliServer
from runs import assert_same_run, assert_same_state, last_checkpoint

TESTS = Path(__file__).parent.parent

#: 40 images in batches of 8: 5 steps an epoch, 15 in all; a checkpoint every 2 steps and per epoch.
CONFIG = """
seed: 3
method: {{name: {method}, hidden_dim: 16, out_dim: 8}}
backbone: {{name: resnet18, stem: small, width: 4}}
data:
  train: {{name: shapes, num_images: 42, size: 16}}
  test: {{name: shapes, num_images: 24, size: 16}}
  views: {{name: simclr, size: 16}}
  batch_size: 8
  workers: {workers}
optim: {{optimizer: sgd, lr: 0.1, warmup_epochs: 1, weight_decay: 1.0e-4}}
trainer: {{max_epochs: 3, log_every_n_steps: 1, accelerator: cpu}}
callbacks:
  knn: {{k: [5]}}
  linear_probe: {{}}
  throughput: {{}}
  nan_guard: {{}}
  collapse: {{}}
  checkpoint: {{every_n_steps: 2, every_n_epochs: 1, keep_last: 2}}
"""

#: Mid-epoch, the first batch, the last batch of an epoch, its validation, a save, the epoch's end.
MOMENTS = [
    ("batch_start", 0),
    ("batch_end", 3),
    ("batch_end", 5),
    ("validation", 5),
    ("batch_start", 8),
    ("save", 1),
    ("epoch_end", 10),
    ("batch_end", 15),
    ("validation", 15),
]


def write_config(folder: Path, method: str, workers: int) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(CONFIG.format(method=method, workers=workers))
    return path


def fit(cli: CliServer, folder: Path, config: Path, run: Path, *more: str) -> int:
    argv = ["fit", "--config", str(config), f"run_dir={run}", *more]
    ended = cli.run(argv, folder, [TESTS])
    if ended.code not in (0, -signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT, 138):
        pytest.fail(f"exit code {ended.code}:\n{ended.output}")
    return ended.code


@pytest.mark.parametrize("method", ["simclr", "byol"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_killed_at_every_moment_equals_the_straight_run(
    cli: CliServer, tmp_path: Path, method: str, workers: int
) -> None:
    straight = tmp_path / "straight"
    assert fit(cli, tmp_path, write_config(tmp_path, method, 0), straight) == 0

    config, killed = write_config(tmp_path, method, workers), tmp_path / "killed"
    for where, step in MOMENTS:
        killer = f"callbacks.killer={{name: 'killers:KillAt', where: {where}, step: {step}}}"
        code = fit(cli, tmp_path, config, killed, killer, "--trust", "killers")
        assert code == -signal.SIGKILL, f"{where} {step} was not reached"
    assert fit(cli, tmp_path, config, killed) == 0
    assert_same_run(straight, killed)


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_workers_end_with_the_process(tmp_path: Path, number: signal.Signals | None) -> None:
    """A real process with a worker leaves at once, done or stopped, and leaves none behind."""
    config, run = write_config(tmp_path, "simclr", 1), tmp_path / "run"
    argv = [sys.executable, "-m", "sslight", "fit", "--config", str(config), f"run_dir={run}"]
    if number is not None:
        killer = f"{{name: 'killers:KillAt', where: batch_end, step: 3, number: {int(number)}}}"
        argv += [f"callbacks.killer={killer}", "--trust", "killers"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == (128 + number if number else 0), done.stderr
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(run) not in listed.stdout


def test_the_comparison_bites(cli: CliServer, tmp_path: Path) -> None:
    """A run with another seed must not compare equal, or the tests above prove nothing."""
    config = write_config(tmp_path, "simclr", 0)
    for seed in (3, 4):
        assert fit(cli, tmp_path, config, tmp_path / str(seed), f"seed={seed}") == 0
    with pytest.raises(AssertionError, match="differs"):
        assert_same_state(tmp_path / "3", tmp_path / "4")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_at_a_step_boundary(
    cli: CliServer, tmp_path: Path, number: signal.Signals
) -> None:
    """Under accumulation, in the middle of a window: the step is finished, saved, 128 + signal."""
    config = write_config(tmp_path, "simclr", 0)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    more = ("trainer.accumulate_grad_batches=2",)
    assert fit(cli, tmp_path, config, straight, *more) == 0
    killer = (
        f"callbacks.killer={{name: 'killers:KillAt', where: within_window, step: 3, "
        f"number: {int(number)}}}"
    )
    code = fit(cli, tmp_path, config, stopped, killer, "--trust", "killers", *more)
    assert code == 128 + number
    assert last_checkpoint(stopped)["global_step"] == 4
    assert fit(cli, tmp_path, config, stopped, *more) == 0
    assert_same_run(straight, stopped)
