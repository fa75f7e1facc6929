"""SwAV's loss and its queue against loops written from the paper, against lightly, over ranks."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from ranks import run_ranks
from torch import nn

from sslight.distributed import world_size
from sslight.losses.sinkhorn import sinkhorn
from sslight.losses.swav import swapped_prediction
from sslight.methods.swav import SwAV
from sslight.strategies import ManualReductionStrategy, SyncBatchNormPlugin

T, EPSILON = 0.1, 0.05


def oracle(scores: list[torch.Tensor], codes: list[torch.Tensor], t: float) -> torch.Tensor:
    """Equation 2, an image, a prototype and a pair of crops at a time."""
    of_codes = []
    for i, code in enumerate(codes):
        of_crops = []
        for v, crop in enumerate(scores):
            if v == i:
                continue
            terms = []
            for b in range(len(crop)):
                total = sum(torch.exp(s / t) for s in crop[b])
                terms.append(
                    -sum(
                        code[b, k] * torch.log(torch.exp(crop[b, k] / t) / total)
                        for k in range(crop.shape[1])
                    )
                )
            of_crops.append(sum(terms) / len(terms))
        of_codes.append(sum(of_crops) / len(of_crops))
    return sum(of_codes) / len(of_codes)


def random_scores(crops: int, batch: int = 5, count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(crops)
    shape = (crops, batch, count)
    values = torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1
    return [value.clone().requires_grad_() for value in values]


@pytest.mark.parametrize(("crops", "code_crops"), [(2, 1), (2, 2), (5, 2), (3, 3)])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_value_and_gradient_equal_the_loops(crops, code_crops, temperature):
    scores = random_scores(crops)
    codes = [sinkhorn(s, EPSILON) for s in scores[:code_crops]]
    loss = swapped_prediction(scores, codes, temperature)
    expected = oracle(scores, codes, temperature)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(loss, scores, allow_unused=True),
        torch.autograd.grad(expected, scores, allow_unused=True),
        strict=True,
    ):
        theirs = torch.zeros_like(mine) if theirs is None else theirs
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_crop_that_predicts_its_own_code_would_be_noticed():
    scores = random_scores(3)
    codes = [sinkhorn(s, EPSILON) for s in scores[:2]]
    mutant = swapped_prediction([scores[1], scores[0], scores[2]], codes, T)
    assert abs(mutant.item() - oracle(scores, codes, T).item()) > 1e-3


@pytest.mark.parametrize("crops", [2, 6])
def test_agrees_with_lightly(crops):
    lightly = pytest.importorskip("lightly.loss")
    scores = random_scores(crops, batch=16, count=7)
    queued = [s.detach().flip(0)[:9] for s in scores[:2]]
    theirs = lightly.SwaVLoss()(scores[:2], scores[2:], queue_outputs=queued)
    codes = [sinkhorn(torch.cat([s, q]))[:16] for s, q in zip(scores, queued, strict=False)]
    mine = swapped_prediction(scores, codes)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-9)
    for x, y in zip(
        torch.autograd.grad(mine, scores), torch.autograd.grad(theirs, scores), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-10)


def test_codes_equal_to_confident_predictions_cost_nothing():
    scores = [torch.eye(4) * 10] * 2
    assert swapped_prediction(scores, [torch.eye(4)] * 2).item() == pytest.approx(0, abs=1e-6)
    even = [torch.zeros(4, 4)] * 2
    assert swapped_prediction(even, [torch.eye(4)] * 2).item() == pytest.approx(math.log(4))


# ------------------------------------------------------------------ the method, with its queue


class Flat(nn.Module):
    """Pixels are the embedding, so that the oracle can follow."""

    embed_dim = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


class At:
    """A method's clock, set by hand."""

    epochs = 0.0


def views(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(4, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3)]


def test_several_steps_with_a_queue_are_the_authors_algorithm(monkeypatch):
    """The queue is a list, unused until full; prototypes are normalised before each forward."""
    monkeypatch.setattr(SwAV, "clock", At)
    torch.manual_seed(0)
    method = SwAV(Flat(), hidden_dim=6, out_dim=5, num_prototypes=7, queue_size=8).double()
    method.prototypes.after_step(At)  # to float64's precision
    weights = method.prototypes.weight.detach().clone()
    queues: list[list[torch.Tensor]] = [[], []]
    used = []
    for step in range(5):
        batch = views(step)
        loss = method.training_loss({"views": batch, "n_global": 2}).loss
        (gradient,) = torch.autograd.grad(loss, [method.prototypes.weight])

        raw = (weights / weights.norm(dim=1, keepdim=True)).requires_grad_()
        z = method.projector(torch.cat(batch).flatten(1)).chunk(3)
        z = [row / row.norm(dim=1, keepdim=True) for row in z]
        codes = []
        for crop in range(2):
            full = len(queues[crop]) == 8
            used.append(full)
            rows = [*queues[crop], *z[crop]] if full else list(z[crop])
            codes.append(sinkhorn(torch.stack(rows) @ raw.T)[-4:].detach())
            queues[crop] = [*queues[crop], *z[crop].detach()][-8:]
        expected = oracle([row @ raw.T for row in z], codes, T)
        (theirs,) = torch.autograd.grad(expected, [raw])
        assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
        torch.testing.assert_close(gradient, theirs, rtol=1e-8, atol=1e-10)

        weights = raw.detach() - 0.5 * theirs
        with torch.no_grad():
            method.prototypes.weight -= 0.5 * gradient
        method.prototypes.after_step(At)
    assert used == [False] * 4 + [True] * 6


def trained(**options: object) -> dict[str, torch.Tensor]:
    """Two steps, in the second of which the queue is full."""
    torch.manual_seed(0)
    method = SwAV(
        tiny.resnet(), hidden_dim=16, out_dim=8, num_prototypes=[5, 4], queue_size=7,
        momentum_teacher=0.9,
    )  # fmt: skip
    torch.manual_seed(1)
    trainer = tiny.trainer(precision="64-true", **options)
    trainer.fit(method, datamodule=tiny.data("swav"))
    return tiny.snapshot(method)


def on_rank() -> dict[str, torch.Tensor]:
    return trained(
        strategy=ManualReductionStrategy(), devices=world_size(), plugins=[SyncBatchNormPlugin()]
    )


@pytest.mark.ranks
def test_ranks_with_a_full_queue_and_a_teacher_are_one_process():
    whole = trained()
    for result in run_ranks(2, on_rank):
        tiny.assert_same(whole, result, tolerance=1e-8)
