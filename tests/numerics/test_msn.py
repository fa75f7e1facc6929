"""MSN's loss against loops, lightly's, and itself on ranks."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from ranks import run_ranks
from torch import Tensor

from sslight import distributed as d
from sslight.losses.msn import me_max, msn_loss, msn_targets, prototype_logits

IMAGES, ANCHORS, PROTOTYPES, DIM = 8, 3, 6, 5
T = 0.1


def data() -> tuple[Tensor, Tensor, Tensor]:
    """Anchors [V, B, D], targets [B, D], prototypes [K, D]."""
    generator = torch.Generator().manual_seed(0)
    shapes = (ANCHORS, IMAGES, DIM), (IMAGES, DIM), (PROTOTYPES, DIM)
    anchors, targets, prototypes = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    return anchors.requires_grad_(), targets, prototypes.requires_grad_()


def losses(
    anchors: Tensor, targets: Tensor, prototypes: Tensor, sharpening: float, iterations: int
) -> tuple[Tensor, Tensor]:
    logits = prototype_logits(anchors.flatten(0, 1), prototypes, T)
    codes = msn_targets(
        prototype_logits(targets, prototypes, T), sharpening, iterations, gather=True
    )
    return msn_loss(logits, codes), me_max(logits, gather=True)


# ------------------------------------------------------------------ the paper, in loops


def assignment(z: Tensor, prototypes: Tensor) -> list[Tensor]:
    scores = [(z @ q) / (z.norm() * q.norm()) / T for q in prototypes]
    total = sum(score.exp() for score in scores)
    return [score.exp() / total for score in scores]


def sharpened(p: list[Tensor], sharpening: float) -> list[float]:
    powers = [x.item() ** (1 / sharpening) for x in p]
    return [x / sum(powers) for x in powers]


def evened(codes: list[list[float]], iterations: int) -> list[list[float]]:
    """Sinkhorn: each prototype 1 / K of everything, then each image 1 / B."""
    images, count = len(codes), len(codes[0])
    for _ in range(iterations):
        columns = [sum(row[k] for row in codes) for k in range(count)]
        codes = [[row[k] / columns[k] / count for k in range(count)] for row in codes]
        codes = [[x / sum(row) / images for x in row] for row in codes]
    return [[x * images for x in row] for row in codes] if iterations else codes


def paper(sharpening: float, iterations: int) -> tuple[Tensor, Tensor]:
    anchors, targets, prototypes = data()
    codes = [sharpened(assignment(z, prototypes), sharpening) for z in targets]
    codes = evened(codes, iterations)
    terms, mean = [], [torch.zeros(()).double() for _ in range(PROTOTYPES)]
    for view in anchors:
        for z, code in zip(view, codes, strict=True):
            p = assignment(z, prototypes)
            terms.append(-sum(c * x.log() for c, x in zip(code, p, strict=True)))
            mean = [m + x / (ANCHORS * IMAGES) for m, x in zip(mean, p, strict=True)]
    entropy = -sum(m * m.log() for m in mean)
    loss, gap = torch.stack(terms).mean(), math.log(PROTOTYPES) - entropy
    grads = torch.autograd.grad(loss + gap, [anchors, prototypes])
    return torch.stack([loss, gap]).detach(), torch.cat([g.flatten() for g in grads])


@pytest.mark.parametrize("sharpening", [0.25, 0.7])
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_value_and_gradients_are_the_papers(sharpening: float, iterations: int) -> None:
    anchors, targets, prototypes = data()
    loss, gap = losses(anchors, targets, prototypes, sharpening, iterations)
    grads = torch.autograd.grad(loss + gap, [anchors, prototypes])
    values, gradients = paper(sharpening, iterations)
    torch.testing.assert_close(torch.stack([loss, gap]), values, rtol=1e-10, atol=1e-12)
    ours = torch.cat([g.flatten() for g in grads])
    torch.testing.assert_close(ours, gradients, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("iterations", [0, 3])
@pytest.mark.parametrize("weight", [0.0, 1.0, 5.0])
def test_lightly_agrees(iterations: int, weight: float) -> None:
    lightly = pytest.importorskip("lightly.loss")
    anchors, targets, prototypes = data()
    peer = lightly.MSNLoss(T, sinkhorn_iterations=iterations, regularization_weight=weight)
    theirs = peer(anchors.flatten(0, 1), targets, prototypes)
    loss, gap = losses(anchors, targets, prototypes, 0.25, iterations)
    torch.testing.assert_close(loss + weight * gap, theirs, rtol=1e-9, atol=0)
    for ours, other in zip(
        torch.autograd.grad(loss + weight * gap, [anchors, prototypes]),
        torch.autograd.grad(theirs, [anchors, prototypes]),
        strict=True,
    ):
        torch.testing.assert_close(ours, other, rtol=1e-8, atol=1e-12)


def test_far_logits_stay_finite_where_powers_of_probabilities_do_not() -> None:
    logits = torch.tensor([[400.0, 0.0], [400.0, 0.0]], requires_grad=True)
    loss = msn_loss(logits, torch.tensor([[0.0, 1.0]]))
    assert loss.item() == pytest.approx(400)
    assert torch.log(logits.softmax(1) ** -1).isinf().any()  # as the public codes compute it


def test_bounds_of_me_max() -> None:
    logits = torch.full((PROTOTYPES, PROTOTYPES), 0.0).fill_diagonal_(100)
    assert me_max(logits).item() == pytest.approx(0, abs=1e-6)
    assert me_max(logits[:1].expand(4, -1)).item() == pytest.approx(math.log(PROTOTYPES))


# ------------------------------------------------------------------ ranks


def results(rows: slice) -> list[Tensor]:
    """Losses and gradients as averaged over ranks; then the mutant, me-max of one rank."""
    anchors, targets, prototypes = data()
    loss, gap = losses(anchors[:, rows], targets[rows], prototypes, 0.25, 3)
    own = me_max(prototype_logits(anchors[:, rows].flatten(0, 1), prototypes, T))
    found = []
    for value in (loss, gap, own):
        gradient = torch.autograd.grad(value, prototypes, retain_graph=True)[0]
        found += [d.all_gather(value).mean(), d.all_gather(gradient[None]).mean(0)]
    return found


def on_rank() -> list[Tensor]:
    rows = IMAGES // d.world_size()
    return results(slice(d.rank() * rows, (d.rank() + 1) * rows))


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_equal_one_process(ranks: int) -> None:
    whole = results(slice(None))
    for result in run_ranks(ranks, on_rank):
        for ours, expected in zip(result[:4], whole[:4], strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
        assert abs(result[4] - whole[4]) > 1e-3
        assert not torch.allclose(result[5], whole[5], atol=1e-4)


def test_prototypes_learn_through_their_normalisation() -> None:
    anchors, _, prototypes = data()
    gradient = torch.autograd.grad(me_max(prototype_logits(anchors[0], prototypes)), prototypes)[0]
    along = (F.normalize(prototypes, dim=1) * gradient).sum(1)
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-12, rtol=0)
