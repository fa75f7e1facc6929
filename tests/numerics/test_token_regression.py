"""Smooth L1 of masked tokens against loops; uneven masks on ranks equal one process."""

from __future__ import annotations

import pytest
import torch
from ranks import run_ranks
from torch import Tensor

from sslight import distributed as d
from sslight.losses.token_regression import masked_smooth_l1

BATCH = 8


def data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (
        3 * torch.randn(BATCH, 5, 4, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    mask = torch.rand(BATCH, 5, generator=generator) < 0.5
    mask[:3] = False  # the first rank has the fewest
    return prediction.requires_grad_(), target.requires_grad_(), mask


def loop(prediction: Tensor, target: Tensor, mask: Tensor, beta: float) -> Tensor:
    """The paper's two cases, an entry at a time."""
    values = []
    for b, t in mask.nonzero().tolist():
        for y, f in zip(target[b, t].detach(), prediction[b, t], strict=True):
            apart = (y - f).abs()
            inside = bool(apart <= beta)
            values.append(0.5 * (y - f) ** 2 / beta if inside else apart - 0.5 * beta)
    return torch.stack(values).mean()


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_value_and_gradient_are_the_papers(beta: float) -> None:
    prediction, target, mask = data()
    ours, theirs = (f(prediction, target, mask, beta) for f in (masked_smooth_l1, loop))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    grads = (torch.autograd.grad(loss, prediction)[0] for loss in (ours, theirs))
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-14)
    assert torch.autograd.grad(
        masked_smooth_l1(prediction, target, mask), target, allow_unused=True
    ) == (None,)


def results(rows: slice) -> list[Tensor]:
    prediction, target, mask = (x[rows] for x in data())
    found = []
    for gather in (True, False):
        loss = masked_smooth_l1(prediction, target, mask, 2.0, gather=gather)
        grad = torch.autograd.grad(loss, prediction, retain_graph=True)[0]
        found += [d.all_gather(loss).mean(), d.all_gather(grad / d.world_size())]
    return found


def on_rank() -> list[Tensor]:
    rows = BATCH // d.world_size()
    return results(slice(d.rank() * rows, (d.rank() + 1) * rows))


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_with_uneven_masks_equal_one_process(ranks: int) -> None:
    whole = results(slice(None))
    for value, gradient, own_value, own_gradient in run_ranks(ranks, on_rank):
        torch.testing.assert_close(value, whole[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, whole[1], rtol=1e-12, atol=1e-16)
        assert abs(own_value - whole[0]) > 1e-3  # mutant: each rank divides by its own count
        assert not torch.allclose(own_gradient, whole[1])
