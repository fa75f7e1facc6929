"""I-JEPA against its equation: one image and one block at a time, without any filling up."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor

import sslight
from sslight.augment.jepa_masks import JepaMasks
from sslight.losses.token_regression import block_smooth_l1
from sslight.methods.ijepa import IJEPA
from sslight.schedules import Clock

GRID = 7


def method(**options: Any) -> IJEPA:
    torch.manual_seed(0)
    backbone = sslight.backbone(**{**tiny.VIT, "image_size": 28}, class_token=False, pooling="avg")
    sizes = {"predictor_dim": 16, "predictor_depth": 2, "predictor_heads": 2}
    ours = IJEPA(backbone, **{**sizes, **options}).double()
    with torch.no_grad():  # so that attention matters, and the teacher is not the student
        for parameter in ours.predictor.parameters():
            parameter.mul_(4)
        for parameter in ours.teacher.teacher.parameters():
            parameter.mul_(1.3)
    return ours


def batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 28, 28, generator=generator, dtype=torch.float64)
    return {"views": [images], **JepaMasks(GRID).draw(0, 0, torch.arange(3))}


def layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean()) / (((x - x.mean()) ** 2).mean() + 1e-5).sqrt()


def smooth_l1(y: Tensor, f: Tensor, beta: float) -> Tensor:
    apart = (y - f).abs()
    return apart**2 / (2 * beta) if apart <= beta else apart - beta / 2


def equation(ours: IJEPA, made: dict[str, Any], beta: float) -> Tensor:
    """The mean over images and blocks of the mean distance in a block."""
    images, losses = made["views"][0], []
    for b in range(len(images)):
        with torch.no_grad():
            whole = ours.teacher.teacher.tokens(images[b : b + 1])[0]
        context = made["context"][b : b + 1]
        tokens = ours.backbone.tokens(images[b : b + 1], keep=context)
        for block, valid in zip(made["targets"][b], made["target_valid"][b], strict=True):
            patches = torch.tensor([int(t) for t, v in zip(block, valid, strict=True) if v])
            alone = patches[None, None]
            predicted = ours.predictor(
                tokens, context, alone, torch.ones_like(alone).bool(), (GRID, GRID)
            )[0, 0]
            terms = [
                smooth_l1(y, f, beta)
                for t, p in zip(patches.tolist(), predicted, strict=True)
                for y, f in zip(layer_norm(whole[t]), p, strict=True)
            ]
            losses.append(torch.stack(terms).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_value_and_gradients_are_the_equations(beta: float) -> None:
    ours, made = method(beta=beta), batch()
    valid = made["target_valid"]
    assert not valid.all(), "no block is filled up: the test shows nothing"
    loss, expected = ours.training_loss(made).loss, equation(ours, made, beta)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    learnt = [p for p in ours.parameters() if p.requires_grad]
    for got, want in zip(
        torch.autograd.grad(loss, learnt), torch.autograd.grad(expected, learnt), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-12)
    everything = {**made, "target_valid": torch.ones_like(valid)}  # mutant: fillings count
    assert abs(ours.training_loss(everything).loss - expected) > 1e-6  # type: ignore[arg-type]


def test_with_blocks_of_one_size_it_is_the_mean_over_everything() -> None:
    """What the authors' code, and lightly's example, compute."""
    generator = torch.Generator().manual_seed(0)
    x, y = (3 * torch.randn(2, 4, 6, 5, generator=generator) for _ in range(2))
    loss = block_smooth_l1(x, y, torch.ones(2, 4, 6, dtype=torch.bool))
    torch.testing.assert_close(loss, F.smooth_l1_loss(x, y))


def test_every_block_counts_the_same() -> None:
    x = torch.zeros(1, 2, 3, 1)
    y = torch.tensor([[[[2.0], [2.0], [2.0]], [[1.0], [9.0], [9.0]]]])
    valid = torch.tensor([[[True, True, True], [True, False, False]]])
    assert block_smooth_l1(x, y, valid).item() == pytest.approx((1.5 + 0.5) / 2)


def test_the_teacher_follows_with_the_papers_momentum() -> None:
    ours = method()
    weight = ours.teacher.teacher.norm.weight
    expected = weight.detach().clone()
    for step in range(3):
        m = 0.996 + step / 10 * 0.004
        with torch.no_grad():
            ours.backbone.norm.weight.add_(1)
        expected = m * expected + (1 - m) * ours.backbone.norm.weight.detach()
        ours.teacher.after_step(Clock(step, 10, 5))
    torch.testing.assert_close(weight.detach(), expected)
