"""Cores: what may be used, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslight import cores


@pytest.fixture
def quota_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Let the system say what a test says, on a machine of 128 cores."""
    monkeypatch.setattr(cores, "visible_cores", lambda: 128)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def say(*texts: str) -> None:
        files = tuple(str(tmp_path / str(i)) for i in range(len(texts)))
        for file, text in zip(files, texts, strict=True):
            Path(file).write_text(text)
        monkeypatch.setattr(cores, "_QUOTAS", ((str(tmp_path / "absent"),), files))

    return say


@pytest.mark.parametrize(
    ("texts", "usable"),
    [
        (("max 100000\n",), 128),
        (("400000 100000\n",), 4),
        (("50000 100000\n",), 1),
        (("99900000 100000\n",), 128),
        (("-1\n", "100000\n"), 128),
        (("250000\n", "100000\n"), 2),
        (("",), 128),
    ],
)
def test_a_containers_quota_counts(quota_of, texts: tuple[str, ...], usable: int):
    quota_of(*texts)
    assert cores.usable_cores() == usable


def test_openmp_is_told_of_a_quota(quota_of):
    quota_of("400000 100000\n")
    cores.respect_quota()
    assert os.environ["OMP_NUM_THREADS"] == "4"


def test_a_number_that_is_set_stays(quota_of, monkeypatch: pytest.MonkeyPatch):
    quota_of("400000 100000\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    cores.respect_quota()
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_without_a_quota_nothing_is_set(quota_of):
    quota_of("max 100000\n")
    cores.respect_quota()
    assert "OMP_NUM_THREADS" not in os.environ


def test_this_machine_has_cores():
    assert 1 <= cores.usable_cores() <= cores.visible_cores()
