from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.methods.npid import NPID


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    monkeypatch.setattr(NPID, "clock", SimpleNamespace(epoch=0))


def build(**options) -> NPID:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return NPID(net, **{"out_dim": 5, "num_negatives": 4, "num_images": 8, **options})


def batch(views: int = 1) -> dict:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(3, 3, 8, 8, generator=generator) for _ in range(views)]
    return {"views": images, "index": torch.tensor([6, 0, 3])}


def projected(method: NPID, view: torch.Tensor) -> torch.Tensor:
    return method.projector(method.backbone(view))


def test_loss_is_nce_against_the_memory_before_it_moves():
    method, twin, x = build(), build(), batch()
    output = method.training_loss(x)
    z = projected(twin, x["views"][0])
    (expected,) = twin.nce([z], x["index"], seed=0, epoch=0)
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.embedding, twin.backbone(x["views"][0]))
    assert torch.equal(method.nce.log_z, twin.nce.log_z)
    twin.nce.memory.update(x["index"], z)
    torch.testing.assert_close(method.nce.memory.rows, twin.nce.memory.rows)


def test_several_views_share_the_loss_and_move_a_row_once():
    method, twin, x = build(), build(), batch(2)
    output = method.training_loss(x)
    z = [projected(twin, view) for view in x["views"]]
    losses = twin.nce(z, x["index"], seed=0, epoch=0)
    torch.testing.assert_close(output.loss, sum(losses) / 2)
    mean = sum(nn.functional.normalize(v, dim=1) for v in z) / 2
    before = twin.nce.memory.rows[x["index"]]
    moved = nn.functional.normalize((before + mean) / 2, dim=1)
    torch.testing.assert_close(method.nce.memory.rows[x["index"]], moved)


def test_the_memory_moves_only_in_training():
    method = build()
    before = method.nce.memory.rows.clone()
    with torch.no_grad():
        method.training_loss(batch())
    method.eval().training_loss(batch())
    assert torch.equal(method.nce.memory.rows, before)


def test_the_memory_is_built_from_the_data():
    method = build(num_images=None)
    with pytest.raises(ValueError, match="no memory yet"):
        method.training_loss(batch())
    with pytest.raises(ValueError, match=r"set method\.num_images"):
        method.on_data(None, 3)
    method.on_data(20, None)
    memory = method.nce.memory
    assert memory.rows.shape == (20, 5)
    method.on_data(20, None)
    method.on_data(None, None)
    assert method.nce.memory is memory
    with pytest.raises(ValueError, match="has 20 rows, but the training data has 30 images"):
        method.on_data(30, None)


def test_bad_numbers_are_refused():
    for options in ({"temperature": 0}, {"num_negatives": 0}):
        with pytest.raises(ValueError, match="use above 0, and 1 or more"):
            build(**options)
