"""Checkpoint files are whole or absent, and hold nothing that cannot be read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sslight.strategies import AtomicCheckpointIO


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a" / "step_1.ckpt"
    AtomicCheckpointIO().save_checkpoint({"w": torch.arange(3), "n": {"k": [1, "x", None]}}, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert loaded["w"].tolist() == [0, 1, 2]
    assert loaded["n"] == {"k": [1, "x", None]}
    assert [p.name for p in path.parent.iterdir()] == ["step_1.ckpt"]


def test_a_crash_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "step_1.ckpt"
    AtomicCheckpointIO().save_checkpoint({"value": 1}, path)

    def crash(a: object, b: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"value": 2}, path)
    assert AtomicCheckpointIO().load_checkpoint(path) == {"value": 1}


def test_an_object_that_could_not_be_loaded_is_refused_by_name(tmp_path: Path) -> None:
    state = {"hyper_parameters": {"root": tmp_path}, "w": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"hyper_parameters.*root.*save_hyperparameters"):
        AtomicCheckpointIO().save_checkpoint(state, tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())


def test_a_pickled_object_is_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch owned",)

    torch.save({"evil": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="plain tensors"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()
