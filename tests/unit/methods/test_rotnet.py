from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.methods.rotnet import RotNet
from sslight.modules.rotation import draw_turns, turned


@pytest.fixture(autouse=True)
def _first_epoch(monkeypatch):
    monkeypatch.setattr(RotNet, "clock", property(lambda self: SimpleNamespace(epoch=2)))


def build(**options) -> RotNet:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(54, 7)]
    net = nn.Sequential(*parts)
    method = RotNet(net, **options)
    method.seed = 5
    return method


def batch(views: int = 1) -> dict:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(4, 3, 8, 8, generator=generator) for _ in range(views)]
    return {"views": images, "index": torch.tensor([7, 3, 11, 20])}


def test_one_turn_of_each_image_is_classified():
    method, x = build(), batch(views=2)
    output = method.training_loss(x)
    turns = [draw_turns(5, 2, x["index"], view) for view in range(2)]
    views = [turned(view, turn) for view, turn in zip(x["views"], turns, strict=True)]
    embedding = method.backbone(torch.cat(views))
    logits = method.head(embedding)
    torch.testing.assert_close(output.embedding, embedding)
    expected = nn.functional.cross_entropy(logits, torch.cat(turns))
    torch.testing.assert_close(output.loss, expected)
    right = (logits.argmax(1) == torch.cat(turns)).float().mean()
    assert output.logs["accuracy"] == right


def test_all_turns_are_shown_crop_major():
    method, x = build(all_rotations=True), batch(views=2)
    output = method.training_loss(x)
    assert output.embedding.shape == (32, 7)
    torch.testing.assert_close(output.embedding[:4], method.backbone(x["views"][0]))
    third = method.backbone(torch.rot90(x["views"][1], 2, (2, 3)))
    torch.testing.assert_close(output.embedding[24:28], third)


def test_the_head_is_linear_or_an_mlp():
    assert [type(part) for part in build().head] == [nn.Linear]
    head = build(layers=2, hidden_dim=9).head
    assert [part.out_features for part in head if isinstance(part, nn.Linear)] == [9, 4]


def test_it_learns_to_tell_turns_apart():
    method = build(all_rotations=True)
    optimizer = torch.optim.Adam(method.parameters(), 0.02)
    for _ in range(40):
        output = method.training_loss(batch())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert output.logs["accuracy"] == 1
