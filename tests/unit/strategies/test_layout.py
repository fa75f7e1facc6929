"""Training keeps channels innermost in memory, and nothing outside of it notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn

import sslight
from sslight import config, load_backbone
from sslight.checkpoints.save import save_backbone
from sslight.strategies.layout import interleave_channels, is_unsafe

WIDE = {**tiny.RESNET, "width": 16}


def wide() -> Any:
    return sslight.backbone(**WIDE)


def fitted(channels_last: bool = True) -> Any:
    method = tiny.build("byol", wide).double()
    method.channels_last = channels_last
    return tiny.fit(method, "byol", precision="64-true")


def interleaved(module: torch.nn.Module) -> list[bool]:
    """For each spatial convolution, whether its weight's channels are innermost."""
    weights = [p for p in module.parameters() if p.ndim == 4 and p.shape[-1] > 1 < p.shape[1]]
    return [weight.stride(1) == 1 for weight in weights]


def test_a_method_and_its_teacher_train_interleaved():
    method = fitted()
    for network in (method.backbone, method.teacher):
        found = interleaved(network)
        assert found
        assert all(found)


def test_the_numbers_are_the_same_up_to_rounding():
    one, other = fitted(), fitted(channels_last=False)
    assert not any(interleaved(other))
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_config_can_switch_it_off(tmp_path: Path):
    node = config.load("quickstart")
    node["data"] |= {"train": {"name": "shapes", "num_images": 64, "size": 16}, "workers": 0}
    node |= {"backbone": WIDE, "callbacks": {}, "run_dir": str(tmp_path / "run")}
    node["trainer"] |= {"max_steps": 1}
    result = sslight.fit({**node, "channels_last": False})
    assert not any(interleaved(result.method.backbone))


def test_saved_backbones_are_contiguous_and_load(tmp_path: Path):
    backbone = fitted().backbone
    save_backbone(backbone, tmp_path / "b")
    loaded = load_backbone(tmp_path / "b.safetensors")
    assert all(p.is_contiguous() for p in loaded.parameters())
    for a, b in zip(backbone.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a.float(), b)


def test_sharded_parameters_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch):
    method = tiny.build("simclr", wide)
    monkeypatch.setattr(method, "_trainer", type("T", (), {"strategy": FSDPStrategy()})())
    interleave_channels(method)
    assert not any(interleaved(method))


def test_narrow_shortcuts_keep_torchs_layout_on_a_cpu():
    """Interleaved, they read beyond their input in the backward, and some processes died."""
    assert is_unsafe(nn.Conv2d(8, 16, 1, stride=2))
    assert not is_unsafe(nn.Conv2d(16, 32, 1, stride=2))
    assert not is_unsafe(nn.Conv2d(8, 16, 3, stride=2))
    assert not is_unsafe(nn.Conv2d(8, 16, 1))
    method = tiny.fit(tiny.build("simclr", tiny.resnet), "simclr")
    assert any(map(is_unsafe, method.modules()))
    assert not any(interleaved(method))
