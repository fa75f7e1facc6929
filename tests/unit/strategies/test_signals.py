"""A signal sets a flag; a second one leaves at once; SLURM's job is put back into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sslight.strategies.signals import StopSignal, requeue


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_only_sets_the_flag(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopSignal()
    stop.install()
    try:
        assert stop.agreed() == 0
        os.kill(os.getpid(), number)
        assert stop.agreed() == number
    finally:
        stop.restore()
    assert signal.getsignal(number) is before


def test_a_second_signal_leaves_at_once() -> None:
    program = (
        "import os, signal; from sslight.strategies.signals import StopSignal;"
        "StopSignal().install();"
        "os.kill(os.getpid(), signal.SIGTERM); print('still here', flush=True);"
        "os.kill(os.getpid(), signal.SIGTERM); print('too late', flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout.split("\n")[0] == "still here"
    assert "too late" not in done.stdout


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({"SLURM_JOB_ID": "17"}, "17"),
        ({"SLURM_JOB_ID": "19", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "2"}, "17_2"),
    ],
)
def test_the_job_is_requeued(
    environment: dict[str, str], job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for key in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    requeue()
    assert (tmp_path / "called").read_text() == f"requeue {job}\n"


def test_outside_a_job_nothing_is_called(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    requeue()
    assert "Not requeued" in caplog.text
