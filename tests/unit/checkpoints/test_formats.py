"""Files to tensors: nested, damaged, blocked, trusted."""

from __future__ import annotations

import argparse
import functools

import numpy as np
import pytest
import torch
from torch import nn

from sslight.checkpoints.formats import TRUST, read_state

WEIGHTS = {"a.weight": torch.ones(2, 3)}


class _Runs:
    """Unpickling it calls a function of the test's."""

    def __reduce__(self):
        return (functools.partial(_note), ("code ran",))


RAN: list[str] = []


def _note(text: str) -> str:
    RAN.append(text)
    return text


@pytest.fixture
def blocked(tmp_path):
    RAN.clear()
    path = tmp_path / "blocked.pth"
    torch.save({"state_dict": WEIGHTS, "extra": _Runs()}, path)
    return path


def test_a_tree_becomes_dotted_names_without_the_optimizers_branches(tmp_path):
    content = {
        "model": {"net": WEIGHTS, "step": 3},
        "optimizer": {"state": {"x": torch.ones(1)}},
        "lr_schedulers": [],
        "queue": torch.zeros(1),
        5: torch.zeros(1),
    }
    torch.save(content, tmp_path / "x.pth")
    assert set(read_state(tmp_path / "x.pth")) == {"model.net.a.weight", "queue"}


def test_a_network_called_loss_or_args_keeps_its_weight(tmp_path):
    """Branches are left out for being dicts of other things, not tensors for their names."""
    torch.save({"loss": torch.zeros(1), **WEIGHTS}, tmp_path / "x.pth")
    assert set(read_state(tmp_path / "x.pth")) == {"loss", "a.weight"}


def test_arguments_and_numbers_beside_the_weights_are_plain(tmp_path):
    content = {"state_dict": WEIGHTS, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.7)}
    content |= {"epoch": np.int64(3), "seen": np.float32(1)}
    torch.save(content, tmp_path / "x.pth")
    assert set(read_state(tmp_path / "x.pth")) == {"state_dict.a.weight"}


def test_what_is_blocked_is_named_and_does_not_run(blocked):
    with pytest.raises(ValueError, match=r"Blocked: .*_note") as error:
        read_state(blocked)
    assert f"{TRUST}={blocked}" in str(error.value)
    assert RAN == []


def test_one_switch_trusts_one_file(blocked, tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST, str(tmp_path / "another.pth"))
    with pytest.raises(ValueError, match="unpickling can run code"):
        read_state(blocked)
    assert RAN == []
    monkeypatch.setenv(TRUST, f"{tmp_path / 'another.pth'}:{blocked}")
    assert set(read_state(blocked)) == {"state_dict.a.weight"}
    assert RAN == ["code ran"]


def test_a_whole_module_is_read_when_trusted(tmp_path, monkeypatch):
    torch.manual_seed(0)
    torch.save({"model": nn.Linear(2, 3)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_state(tmp_path / "x.pth")
    monkeypatch.setenv(TRUST, str(tmp_path / "x.pth"))
    assert set(read_state(tmp_path / "x.pth")) == {"model.weight", "model.bias"}


def test_old_files_name_what_is_blocked_too(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"x": _Runs()}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"Blocked: \S+\. If you trust"):
        read_state(path)


def test_damaged_files_and_programs_are_told_apart(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"it is damaged, or no file of PyTorch's \(19 bytes\)"):
        read_state(tmp_path / "x.pth")


def test_files_without_weights_say_what_they_hold(tmp_path):
    torch.save({"epoch": 3, "best": 0.5}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="a dict with the keys epoch, best"):
        read_state(tmp_path / "x.pth")
    torch.save([1, 2], tmp_path / "x.pth")
    with pytest.raises(ValueError, match="it holds a list"):
        read_state(tmp_path / "x.pth")


@pytest.mark.parametrize(("kind", "parts"), [("shard_list", "shards"), ("slice_list", "slices")])
def test_vissls_index_files_say_how_to_put_them_together(tmp_path, kind, parts):
    torch.save({"type": kind, "shards": ["a_shard0.torch"]}, tmp_path / "x.torch")
    with pytest.raises(ValueError, match=rf"in {parts}.*convert_sharded_checkpoint"):
        read_state(tmp_path / "x.torch")
