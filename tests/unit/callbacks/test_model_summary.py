from __future__ import annotations

import copy
import json
import logging

import pytest
import torch
import torchvision
from torch import nn

from sslight.backbones import backbone
from sslight.callbacks.model_summary import (
    ModelSummary,
    count_cost,
    count_parameters,
    image_channels,
)
from sslight.loggers import JsonlLogger


def image(channels: int, size: int) -> torch.Tensor:
    return torch.empty(1, channels, size, size, device="meta")


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5, bias=False),
    )  # fmt: skip


def test_cost_by_hand():
    cost = count_cost(small(), image(2, 8))
    assert cost.flops == 2 * (4 * 8 * 8 * 2 * 9) + 2 * (4 * 5)
    assert cost.activations == 4 * 8 * 8 + 5


def test_resnet50_has_its_published_cost():
    cost = count_cost(torchvision.models.resnet50(), image(3, 224))
    assert cost.flops == pytest.approx(2 * 4.09e9, rel=0.01)
    assert cost.activations == pytest.approx(11.1e6, rel=0.01)


def test_attention_is_counted():
    def vit():
        return torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=4)

    tokens, dim = 17, 16
    projections = 2 * tokens * dim * (3 * dim + dim + 32 + 32)
    attention = 2 * 2 * tokens * tokens * dim
    patches, head = 2 * 16 * dim * 3 * 64, 2 * dim * 4
    assert count_cost(vit(), image(3, 32)).flops == projections + attention + patches + head
    ours = backbone("vit_t_16", image_size=32, patch_size=8, width=16, heads=2, depth=1)
    mlp = 2 * tokens * dim * 2 * (4 * dim - 32)  # ours is four times as wide as the tokens
    assert count_cost(ours, image(3, 32)).flops == projections + mlp + attention + patches


def test_the_module_and_the_generators_stay_as_they_are():
    module = nn.Sequential(small(), nn.Dropout(0.5)).train()
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    count_cost(module, image(2, 8))
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(m.training for m in module.modules())
    assert all(p.device.type == "cpu" for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)


class Stubborn(nn.Module):
    """Reads a value, which the meta device has not."""

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.body = small()
        self.broken = broken

    def forward(self, images):
        if self.broken:
            raise KeyError("needs a second input")
        return self.body(images if images.sum().item() == 0 else images * 2)


def test_what_cannot_run_on_meta_runs_on_a_cpu_copy():
    module = Stubborn()
    assert count_cost(module, image(2, 8)) == count_cost(module.body, image(2, 8))


def test_parameters():
    tied = nn.Linear(3, 2)
    module = nn.Sequential(tied, nn.Linear(2, 2, bias=False).requires_grad_(False), tied)
    assert count_parameters(module) == {"parameters": 12, "trainable": 8}
    assert image_channels(small()) == 2
    assert image_channels(nn.Linear(2, 2)) == 3


@pytest.fixture
def method(kit):
    class Images(kit.Method):
        def __init__(self, image_backbone) -> None:
            super().__init__()
            self.encoder, self.backbone = self.backbone, image_backbone
            self.frozen = nn.Linear(2, 2).requires_grad_(False)

        def training_step(self, batch, batch_idx):
            return self.encoder(batch["views"][0]).square().mean()

    return Images


def fit(kit, folder, module, callback) -> list[dict]:
    trainer = kit.trainer(folder, callback, logger=JsonlLogger(folder), epochs=1)
    trainer.fit(module, datamodule=kit.Data(test=False))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "model/parameters" in row]


def test_it_is_said_once_and_logged_at_step_0(kit, method, tmp_path, caplog):
    caplog.set_level(logging.INFO, "sslight")
    found = fit(kit, tmp_path, method(small()), ModelSummary(size=8))
    counted = count_parameters(method(small()))
    expected = {"parameters": counted["parameters"], "trainable": counted["trainable"]}
    expected |= {"flops": 9256, "activations": 261}
    assert found == [{"step": 0, **{f"model/{k}": float(v) for k, v in expected.items()}}]
    assert "Images: 176 parameters, 170 of them trainable; 22 numbers in buffers" in caplog.text
    assert "frozen (Linear): 6, not trained by gradient" in caplog.text
    assert "backbone: 9.26 k FLOPs, 261 activations for one 2x8x8 image" in caplog.text


def test_a_backbone_that_cannot_be_counted_does_not_end_training(kit, method, tmp_path, caplog):
    caplog.set_level(logging.INFO, "sslight")
    (row,) = fit(kit, tmp_path, method(Stubborn(broken=True)), ModelSummary())
    assert "model/flops" not in row
    assert "1x2x224x224 image are not counted: 'needs a second input'" in caplog.text


def test_refuses():
    with pytest.raises(ValueError, match="size=0"):
        ModelSummary(size=0)
