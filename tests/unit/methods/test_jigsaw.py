from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.backbones.inputs import standardised
from sslight.methods.jigsaw import Jigsaw


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    monkeypatch.setattr(Jigsaw, "clock", SimpleNamespace(epoch=0))


def build(**options) -> Jigsaw:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Jigsaw(net, **{"num_permutations": 6, "hidden_dim": 4, **options})


def batch(images: int = 4, views: int = 1) -> dict:
    generator = torch.Generator().manual_seed(1)
    x = [torch.randn(images, 3, 15, 15, generator=generator) for _ in range(views)]
    return {"views": x, "index": torch.arange(images)}


@pytest.mark.parametrize("grid", [3, 2])
def test_the_backbone_sees_all_patches_of_each_image(grid):
    method, seen = build(tile_size=5, grid=grid), []
    method.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    output = method.training_loss(batch())
    assert seen == [(4 * grid**2, 3, 5, 5)]
    assert output.embedding.shape == (4 * grid**2, 6)
    assert output.logs["top1"] in torch.arange(5) / 4


def test_every_permutation_is_drawn_by_seed_epoch_and_image(monkeypatch):
    method, x = build(tile_size=1), batch(240)
    first = method._puzzles(x["views"][0], x["index"])[1]
    assert (torch.bincount(first, minlength=6) - 40).abs().max() < 20
    part = method._puzzles(x["views"][0][5:7], x["index"][5:7])[1]
    assert torch.equal(part, first[5:7])
    monkeypatch.setattr(Jigsaw, "clock", SimpleNamespace(epoch=1))
    assert not torch.equal(method._puzzles(x["views"][0], x["index"])[1], first)


def test_patches_may_be_standardised_and_then_whole_images_are_too():
    plain, other = build(tile_size=5), build(tile_size=5, normalize_patches=True)
    pixels = batch()["views"][0] * 3 + 5
    assert torch.equal(other.eval_backbone(pixels), plain.eval_backbone(standardised(pixels, 3)))
    seen = []
    other.backbone[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    other.training_loss({**batch(), "views": [pixels]})
    patches = plain._puzzles(pixels, torch.arange(4))[0]
    assert torch.equal(seen[0], standardised(patches.transpose(0, 1).flatten(0, 1), 3))


def test_permutations_are_saved_and_loaded():
    method, other = (
        build(num_permutations=30, criterion=criterion) for criterion in ("average", "minimum")
    )
    assert not torch.equal(method.permutations, other.permutations)
    other.load_state_dict(method.state_dict())
    assert torch.equal(method.permutations, other.permutations)


def test_wrong_views_and_numbers_are_refused():
    with pytest.raises(ValueError, match="has 2 views"):
        build().training_loss(batch(views=2))
    with pytest.raises(ValueError, match="num_permutations is 1"):
        build(num_permutations=1)
    with pytest.raises(ValueError, match="grid is 4; use 2 or 3"):
        build(grid=4)
    with pytest.raises(ValueError, match="cannot choose 25 of 4"):
        build(grid=2, num_permutations=25)
    with pytest.raises(ValueError, match="does not fit a cell"):
        build(tile_size=6).training_loss(batch())
