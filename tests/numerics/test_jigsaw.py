"""Jigsaw's loss and gradient against the paper's network, written an image at a time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.augment.draws import seed_of, uniforms
from sslight.methods import jigsaw
from sslight.methods.jigsaw import Jigsaw
from sslight.modules.patches import jittered_patches

CLASSES = 7


@pytest.fixture(params=[3, 2])
def method(monkeypatch, request) -> Jigsaw:
    monkeypatch.setattr(Jigsaw, "clock", SimpleNamespace(epoch=2))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    built = Jigsaw(net, num_permutations=CLASSES, hidden_dim=4, grid=request.param).double()
    built.seed = 5
    return built


def batch() -> dict:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(5, 3, 15, 15, generator=generator, dtype=torch.float64)
    return {"views": [images], "index": torch.tensor([4, 0, 9, 7, 12])}


def oracle(method: Jigsaw, x: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss, and embeddings ``[P, B, D]``."""
    images, index = x["views"][0], x["index"]
    straight = jittered_patches(images, index, seed=5, epoch=2, grid=method.grid)
    draws = uniforms(seed_of(5, jigsaw._STREAM), 2, index, 0, 1)
    wanted = [int(draw * CLASSES) for draw in draws]
    orders = [method.permutations[k].tolist() for k in wanted]
    embeddings = [
        torch.cat([method.backbone(image[p][None]) for p in order])
        for image, order in zip(straight, orders, strict=True)
    ]
    linear, norm = method.patch_head[0], method.patch_head[1]
    narrow = torch.stack([part @ linear.weight.T for part in embeddings])  # [B, P, H]
    mean, var = narrow.mean((0, 1)), narrow.var((0, 1), correction=0)
    narrow = ((narrow - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias).clamp(min=0)
    terms = []
    for row, k in zip(narrow, wanted, strict=True):
        scores = method.classifier.weight @ row.reshape(-1) + method.classifier.bias
        terms.append(torch.log(torch.exp(scores).sum()) - scores[k])
    return torch.stack(terms).mean(), torch.stack(embeddings, dim=1)


def test_value_gradient_and_embedding_equal_the_loops(method):
    output, (expected, embeddings) = method.training_loss(batch()), oracle(method, batch())
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(output.embedding, embeddings.flatten(0, 1))
    parameters = list(method.parameters())
    mine, theirs = (torch.autograd.grad(loss, parameters) for loss in (output.loss, expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_another_permutation_would_be_noticed(method):
    loss = method.training_loss(batch()).loss
    method.permutations.copy_(method.permutations.roll(1, 0))
    assert loss.item() != pytest.approx(method.training_loss(batch()).loss.item(), rel=1e-3)
