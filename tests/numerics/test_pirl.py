"""PIRL's loss and memory over steps against the paper's equations, written as loops."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.augment.draws import seed_of, uniforms
from sslight.methods.pirl import PIRL
from sslight.modules import patches as modules_patches
from sslight.modules.instance_nce import others

IMAGES, NEGATIVES, TEMPERATURE, EPS = 8, 5, 0.3, 2.0**-23
STEPS = ([6, 0, 3], [0, 1, 0])


def build(monkeypatch, **options) -> PIRL:
    monkeypatch.setattr(PIRL, "clock", SimpleNamespace(epoch=0))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    sizes = {"out_dim": 5, "num_negatives": NEGATIVES, "temperature": TEMPERATURE}
    method = PIRL(net, **{**sizes, "num_images": IMAGES, **options}).double()
    method.nce.memory.rows /= method.nce.memory.rows.norm(dim=1, keepdim=True)
    return method


def batch(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    views = [
        torch.randn(3, 3, side, side, generator=generator, dtype=torch.float64) for side in (12, 15)
    ]
    return {"views": views, "index": torch.tensor(STEPS[step])}


def patches_of(image: torch.Tensor, index: int, size: int = 4, cell: int = 5):
    """Nine slices, at drawn places, in drawn order."""
    at = torch.tensor([index])
    places = uniforms(seed_of(0, modules_patches._PLACES), 0, at, 0, 18)[0].tolist()
    order = uniforms(seed_of(0, modules_patches._ORDERS), 0, at, 0, 9)[0].tolist()
    for p in sorted(range(9), key=lambda p: order[p]):
        top = p // 3 * cell + int(places[p] * (cell - size + 1))
        left = p % 3 * cell + int(places[9 + p] * (cell - size + 1))
        yield image[:, top : top + size, left : left + size]


def embeddings(method: PIRL, x: dict) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of patches and of whole views, an image at a time."""
    joined, whole = [], []
    for image, cut, index in zip(*x["views"], x["index"].tolist(), strict=True):
        whole.append(method.image_head(method.backbone(image[None]))[0])
        parts = [
            method.patch_head(method.backbone(patch[None]))[0] for patch in patches_of(cut, index)
        ]
        joined.append(method.joint_head(torch.cat(parts)))
    return joined, whole


def scores(z: list[torch.Tensor], index: list[int], rows: torch.Tensor) -> list[list[torch.Tensor]]:
    drawn = others(torch.tensor(index), IMAGES, NEGATIVES, seed=0, epoch=0).tolist()
    return [
        [torch.exp(v @ rows[row] / v.norm() / TEMPERATURE) for row in (i, *negatives)]
        for v, i, negatives in zip(z, index, drawn, strict=True)
    ]


def nce(exponentials: list[list[torch.Tensor]], z: float) -> torch.Tensor:
    noise, terms = NEGATIVES / IMAGES, []
    for own, *rest in exponentials:
        terms.append(-torch.log(own / z / (own / z + noise + EPS)))
        terms += [-torch.log(noise / (other / z + noise + EPS)) for other in rest]
    return sum(terms) / len(exponentials)


@pytest.mark.parametrize("weight", [0.5, 0.8])
def test_loss_gradients_constant_and_memory_over_steps(weight, monkeypatch):
    method = build(monkeypatch, patch_weight=weight)
    rows, z = method.nce.memory.rows.clone(), None
    for step, index in enumerate(STEPS):
        x = batch(step)
        output = method.training_loss(x)
        joined, whole = embeddings(method, x)
        both = [scores(v, index, rows) for v in (joined, whole)]
        if z is None:
            flat = [s.item() for output in both for image in output for s in image]
            z = IMAGES * sum(flat) / len(flat)
        expected = weight * nce(both[0], z) + (1 - weight) * nce(both[1], z)
        assert output.loss.item() == pytest.approx(expected.item(), rel=1e-11)
        mine, theirs = (
            torch.autograd.grad(loss, list(method.parameters())) for loss in (output.loss, expected)
        )
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        for image in set(index):
            seen = [v / v.norm() for v, i in zip(whole, index, strict=True) if i == image]
            moved = rows[image] / 2 + sum(seen).detach() / len(seen) / 2
            rows[image] = moved / moved.norm()
        torch.testing.assert_close(method.nce.memory.rows, rows)
