"""Several steps of methods, in float64, against their papers' algorithms written as loops.

A deep copy of a method lends its networks to the algorithm; loss, descent, momentum average,
center, queue and clusters are written here. After each step every parameter and every buffer of
both must be equal, so an update at the wrong place is noticed at the next step, or at once.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from sslight.augment.draws import seed_of
from sslight.backbones.pooling import pooled
from sslight.bookkeeping import ticking
from sslight.methods.byol import BYOL
from sslight.methods.clusterfit import _STREAM, ClusterFit
from sslight.methods.dino import DINO
from sslight.methods.moco_v2 import MoCoV2
from sslight.methods.msn import MSN
from sslight.module import SSLModule
from sslight.modules.masking import mask_noise
from sslight.schedules import Clock, Cosine, Linear

STEPS, LR = 4, 0.3
Algorithm = Callable[[Any, dict[str, Any], Clock], Tensor]


def images(step: int, *sizes: int, batch: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    options = {"generator": generator, "dtype": torch.float64}
    return [torch.randn(batch, 3, size, size, **options) for size in sizes]


def built(kind: type[SSLModule], backbone: nn.Module, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(backbone, **options).double()


def assert_same_steps(
    method: Any, algorithm: Algorithm, batches: Sequence[dict[str, Any]], monkeypatch: Any
) -> None:
    """Train as SSLModule does, and by the algorithm, which moves a copy; compare all of both."""
    now = [Clock(0, STEPS, 2)]
    monkeypatch.setattr(type(method), "clock", property(lambda self: now[0]))
    twin = copy.deepcopy(method)
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=LR)
    for step, batch in enumerate(batches):
        clock = now[0] = Clock(step, STEPS, 2)
        if step % clock.per_epoch == 0:
            method.before_epoch(clock)
        optimizer.zero_grad()
        loss = method.training_loss(batch).loss
        loss.backward()
        optimizer.step()
        for module in ticking(method):
            module.after_step(clock)

        torch.testing.assert_close(loss, algorithm(twin, batch, clock), rtol=1e-10, atol=1e-12)
        for name, other in twin.named_parameters():
            if name in trained:
                # threads sum in an order of their own, and entries cancel: rounding is up to 2e-12
                torch.testing.assert_close(trained[name].grad, other.grad, rtol=1e-8, atol=1e-11)
        tiny.assert_same(tiny.snapshot(twin), tiny.snapshot(method), tolerance=1e-10)


# ------------------------------------------------------------------ pieces of all algorithms


def unit(row: Tensor) -> Tensor:
    return row / row.norm()


def softmax(row: Tensor, temperature: float) -> list[Tensor]:
    powers = [torch.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def cross_entropy(target: Iterable[Any], given: Iterable[Tensor]) -> Tensor:
    return -sum(t * torch.log(p) for t, p in zip(target, given, strict=True))


def mean(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms) / len(terms)


def descend(twin: nn.Module, loss: Tensor) -> Tensor:
    twin.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.requires_grad:
                parameter -= LR * parameter.grad
    return loss.detach()


@torch.no_grad()
def follow(teacher: nn.Module, online: nn.Module, momentum: float) -> None:
    for mine, theirs in zip(teacher.parameters(), online.parameters(), strict=True):
        mine.copy_(momentum * mine + (1 - momentum) * theirs)


def cosine(start: float, clock: Clock) -> float:
    """BYOL's momentum, on its way from a start to 1."""
    return 1 - (1 - start) * (math.cos(math.pi * clock.step / STEPS) + 1) / 2


# ------------------------------------------------------------------ the algorithms


def byol(twin: BYOL, batch: dict[str, Any], clock: Clock) -> Tensor:
    both = torch.cat(batch["views"])
    predictions = twin.predictor(twin.projector(twin.backbone(both))).chunk(2)
    targets = twin.teacher.teacher(both).detach().chunk(2)
    pairs = [(predictions[0], targets[1]), (predictions[1], targets[0])]
    loss = sum(
        mean([(unit(q) - unit(z)).square().sum() for q, z in zip(*pair, strict=True)])
        for pair in pairs
    )
    descended = descend(twin, loss)
    follow(twin.teacher.teacher, nn.Sequential(twin.backbone, twin.projector), cosine(0.8, clock))
    return descended


def test_byol(monkeypatch):
    method = built(BYOL, tiny.resnet(), hidden_dim=8, out_dim=5, momentum=Cosine(0.8, 1.0))
    batches = [{"views": images(step, 8, 8)} for step in range(STEPS)]
    assert_same_steps(method, byol, batches, monkeypatch)


def dino(twin: DINO, batch: dict[str, Any], clock: Clock) -> Tensor:
    students = [twin.head(twin.backbone(view)) for view in batch["views"]]
    backbone, head = twin.teacher_backbone.teacher, twin.teacher_head.teacher
    teachers = [head(backbone(view)).detach() for view in batch["views"][: batch["n_global"]]]
    temperature = 0.05 + 0.15 * clock.step / STEPS
    terms = []
    for t, teacher in enumerate(teachers):
        for s, student in enumerate(students):
            for wanted, given in zip(teacher, student, strict=True):
                if s != t:
                    target = softmax(wanted - twin.center.value, temperature)
                    terms.append(cross_entropy(target, softmax(given, 0.1)))
    loss = descend(twin, mean(terms))
    rows = [row for teacher in teachers for row in teacher]
    twin.center.value.copy_(0.7 * twin.center.value + 0.3 * mean(rows))
    follow(backbone, twin.backbone, cosine(0.8, clock))
    follow(head, twin.head, cosine(0.8, clock))
    return loss


def test_dino(monkeypatch):
    options = {"hidden_dim": 8, "bottleneck_dim": 5, "out_dim": 6, "center_momentum": 0.7}
    schedules = {"teacher_temperature": Linear(0.05, 0.2), "momentum": Cosine(0.8, 1.0)}
    method = built(DINO, tiny.Net(), norm_last_layer=False, **options, **schedules)
    batches = [{"views": images(step, 16, 16, 8), "n_global": 2} for step in range(STEPS)]
    assert_same_steps(method, dino, batches, monkeypatch)


def moco_v2(twin: MoCoV2, batch: dict[str, Any], clock: Clock) -> Tensor:
    first, second = batch["views"]
    queue, losses, fresh = list(twin.queue.rows.clone()), [], []
    for x, other in [(first, second), (second, first)][: 2 if twin.symmetric else 1]:
        queries = twin.projector(twin.backbone(x))
        keys = twin.key_encoder.teacher(other).detach()
        for q, k in zip(map(unit, queries), map(unit, keys), strict=True):
            logits = torch.stack([q @ k, *(q @ row for row in queue)])
            losses.append(-torch.log(softmax(logits, 0.2)[0]))
            fresh.append(k)
    loss = descend(twin, mean(losses))
    follow(twin.key_encoder.teacher, nn.Sequential(twin.backbone, twin.projector), 0.9)
    for row in fresh:
        twin.queue.rows[int(twin.queue.cursor)] = row
        twin.queue.cursor.copy_((twin.queue.cursor + 1) % len(queue))
    return loss


@pytest.mark.parametrize("symmetric", [False, True])
def test_moco_v2(symmetric, monkeypatch):
    options = {"queue_size": 11, "momentum": 0.9, "symmetric": symmetric}
    method = built(MoCoV2, tiny.Net(), hidden_dim=8, out_dim=5, **options)
    batches = [{"views": images(step, 16, 16)} for step in range(STEPS)]
    assert_same_steps(method, moco_v2, batches, monkeypatch)


def evened(codes: list[list[float]], rounds: int = 3) -> list[list[float]]:
    """Sinkhorn: each prototype an equal share of everything, then each image 1."""
    for _ in range(rounds):
        columns = [sum(column) for column in zip(*codes, strict=True)]
        codes = [[x / c for x, c in zip(row, columns, strict=True)] for row in codes]
        codes = [[x / sum(row) for x in row] for row in codes]
    return codes


def assignments(rows: Tensor, prototypes: Tensor) -> list[list[Tensor]]:
    units = torch.stack([unit(prototype) for prototype in prototypes])
    return [softmax(units @ unit(row), 0.1) for row in rows]


def msn(twin: MSN, batch: dict[str, Any], clock: Clock) -> Tensor:
    target, masked, focal = batch["views"]
    keep = mask_noise(twin.seed, clock.epoch, batch["index"], 1, 16).argsort(1)[:, :8]
    seen = pooled(twin.backbone, twin.backbone.tokens(masked, keep=keep))
    # The head's batch norms see one resolution at a time, and so move twice a step.
    anchors = torch.cat([twin.projector(part) for part in (seen, twin.backbone(focal))])
    backbone, projector = twin.teacher_backbone.teacher, twin.teacher_projector.teacher
    prototypes, codes = twin.prototypes.weight, []
    for p in assignments(projector(backbone(target)).detach(), prototypes.detach()):
        powers = [x.item() ** (1 / 0.25) for x in p]
        codes.append([x / sum(powers) for x in powers])
    guesses = assignments(anchors, prototypes)
    loss = mean([cross_entropy(c, p) for c, p in zip(evened(codes) * 2, guesses, strict=True)])
    shares = [mean(column) for column in zip(*guesses, strict=True)]
    descended = descend(twin, loss + 0.5 * (math.log(6) - cross_entropy(shares, shares)))
    follow(backbone, twin.backbone, 0.8 + 0.2 * clock.step / STEPS)
    follow(projector, twin.projector, 0.8 + 0.2 * clock.step / STEPS)
    return descended


def test_msn(monkeypatch):
    options = {"num_prototypes": 6, "mask_ratio": 0.5, "me_max_weight": 0.5}
    sizes = {"hidden_dim": 8, "out_dim": 5}
    method = built(MSN, tiny.vit(), momentum=Linear(0.8, 1.0), **options, **sizes)
    # Nine rows in each batch norm: of four, whose variance may be small, it swells the rounding.
    index = torch.tensor([7, 1, 5, 2, 8, 3, 9, 4, 6])
    batches = [
        {"views": images(step, 16, 16, 8, batch=9), "n_global": 2, "index": index + step}
        for step in range(STEPS)
    ]
    assert_same_steps(method, msn, batches, monkeypatch)


IMAGES = images(99, 16, batch=9)[0]


def clusters(rows: list[Tensor], rounds: int, seed: int) -> list[int]:
    """Lloyd's algorithm for three clusters, from random rows."""
    first = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:3]
    centroids = [rows[k] for k in first.tolist()]
    for left in reversed(range(rounds + 1)):
        gaps = [[(row - c).norm().item() for c in centroids] for row in rows]
        ids = [gap.index(min(gap)) for gap in gaps]
        members = [[row for row, k in zip(rows, ids, strict=True) if k == c] for c in range(3)]
        if left:
            centroids = [mean(m) if m else c for m, c in zip(members, centroids, strict=True)]
    return ids


def clusterfit(fresh: dict[str, Tensor]) -> Algorithm:
    def step(twin: ClusterFit, batch: dict[str, Any], clock: Clock) -> Tensor:
        if clock.step == 0:
            rows = [unit(row) for row in twin.backbone(IMAGES).detach()]
            ids = clusters(rows, twin.kmeans_iterations, seed_of(twin.seed, _STREAM))
            twin.assignments.copy_(torch.tensor(ids))
            twin.backbone.load_state_dict(fresh)
        terms = []
        for view in batch["views"]:
            logits = twin.head(twin.backbone(view))
            for row, k in zip(logits, batch["index"].tolist(), strict=True):
                terms.append(-torch.log(softmax(row, 1.0)[int(twin.assignments[k])]))
        return descend(twin, mean(terms))

    return step


@pytest.mark.parametrize("rounds", [1, 4])
def test_clusterfit(rounds, monkeypatch):
    """Clusters of the loaded network, found once; the network as it was built learns them."""
    method = built(ClusterFit, tiny.Net(), num_clusters=3, kmeans_iterations=rounds)
    fresh = tiny.snapshot(method.backbone)
    method._first = dict(fresh)  # which the constructor took before it became float64
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.add_(torch.randn_like(parameter))  # as init does

    def features(self: ClusterFit, split: str) -> Tensor:
        return self.backbone(IMAGES).detach()

    monkeypatch.setattr(ClusterFit, "dataset_features", features)
    method.on_data(9, None)
    index = torch.tensor([8, 2, 0, 5])
    batches = [{"views": images(step, 16, 16), "index": index - step} for step in range(STEPS)]
    batches = [{**batch, "index": batch["index"] % 9} for batch in batches]
    assert_same_steps(method, clusterfit(fresh), batches, monkeypatch)
    assert len(method.assignments.unique()) == 3
