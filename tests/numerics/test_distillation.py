"""Distillation losses against loops written from papers and VISSL; the queue over some steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ranks import run_ranks
from torch import nn

from sslight import distributed as d
from sslight.losses.distillation import (
    prototype_distillation,
    similarity_distillation,
    soft_targets,
)
from sslight.methods.distill import Distill


def rows(batch: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, width, generator=generator, dtype=torch.float64)


def distribution(logits: list[torch.Tensor]) -> list[torch.Tensor]:
    total = sum(x.exp() for x in logits)
    return [x.exp() / total for x in logits]


def assert_equal(loss: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    mine, theirs = (torch.autograd.grad(value, inputs) for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def hinton(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Section 2, as a divergence: the teacher's own entropy, a constant, is taken off."""
    terms = []
    for s, t in zip(student, teacher, strict=True):
        q = distribution([x / temperature for x in s])
        p = distribution([x / temperature for x in t])
        terms.append(sum(b * torch.log(b / a) for a, b in zip(q, p, strict=True)))
    return temperature**2 * torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
@pytest.mark.parametrize(("batch", "classes"), [(1, 3), (5, 4)])
def test_soft_targets(temperature, batch, classes):
    student = rows(batch, classes, 0).requires_grad_()
    teacher = 3 * rows(batch, classes, 1)
    loss = soft_targets(student, teacher, temperature)
    assert_equal(loss, hinton(student, teacher, temperature), [student])


def test_the_gradient_keeps_its_size_as_the_temperature_grows():
    """Section 2.1: in the limit it is that of matching logits, (s - t) / K, for centred ones."""
    student, teacher = rows(4, 6, 0).requires_grad_(), rows(4, 6, 1)
    (grad,) = torch.autograd.grad(soft_targets(student, teacher, 1e4), student)
    centred = [x - x.mean(1, keepdim=True) for x in (student, teacher)]
    torch.testing.assert_close(grad, (centred[0] - centred[1]) / 6 / 4, rtol=1e-3, atol=1e-5)


def seed_loss(
    student: torch.Tensor, teacher: torch.Tensor, queue: list[torch.Tensor], ts: float, tt: float
) -> torch.Tensor:
    """Equations 1 to 5 of SEED: the queue, and the teacher's own embedding as its last row."""
    terms = []
    for s, t in zip(student, teacher, strict=True):
        s, t = s / s.norm(), (t / t.norm()).detach()
        anchors = [row / row.norm() for row in queue] + [t]
        own = distribution([s @ row / ts for row in anchors])
        theirs = distribution([t @ row / tt for row in anchors])
        terms.append(-sum(p * torch.log(q) for p, q in zip(theirs, own, strict=True)))
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("ts", "tt"), [(0.2, 0.05), (1.0, 1.0)])
@pytest.mark.parametrize(("batch", "anchors"), [(1, 1), (4, 7)])
def test_similarities(ts, tt, batch, anchors):
    student, teacher = rows(batch, 5, 0).requires_grad_(), 2 * rows(batch, 5, 1)
    queue = rows(anchors, 5, 2)
    loss = similarity_distillation(
        student, teacher, queue, student_temperature=ts, teacher_temperature=tt
    )
    assert_equal(loss, seed_loss(student, teacher, list(queue), ts, tt), [student])


def test_without_the_teachers_own_embedding_would_be_noticed():
    student, teacher, queue = rows(4, 5, 0), rows(4, 5, 1), rows(7, 5, 2)
    logits = [F.normalize(x, dim=1) @ F.normalize(queue, dim=1).T for x in (student, teacher)]
    mutant = F.cross_entropy(logits[0] / 0.2, (logits[1] / 0.1).softmax(1))
    loss = similarity_distillation(student, teacher, queue, teacher_temperature=0.1)
    assert abs(mutant - loss) > 1e-2


@pytest.mark.parametrize("temperature", [0.01, 1e-4])
def test_float32_at_small_temperatures(temperature):
    inputs = [rows(8, 5, 0), rows(8, 5, 1), rows(20, 5, 2)]
    exact = similarity_distillation(*inputs, teacher_temperature=temperature)
    single = similarity_distillation(*(x.float() for x in inputs), teacher_temperature=temperature)
    assert single.item() == pytest.approx(exact.item(), rel=1e-5)


def sinkhorn_codes(scores: torch.Tensor, epsilon: float, rounds: int) -> list[torch.Tensor]:
    """VISSL's rounds on exp(scores / epsilon): prototypes to 1 / K each, then samples to 1 / B."""
    q = (scores.T / epsilon).exp()  # [K, B]
    q = q / q.sum()
    prototypes, samples = q.shape
    for _ in range(rounds):
        q = torch.stack([row / row.sum() / prototypes for row in q])
        q = torch.stack([column / column.sum() / samples for column in q.T]).T
    return [column / column.sum() for column in q.T]


def prototype_loss(
    student: torch.Tensor, teacher: torch.Tensor, ts: float, tt: float, rounds: int
) -> torch.Tensor:
    """VISSL's swav_distillation without a queue; without rounds, its dino_distillation."""
    teacher = teacher.detach()
    soft = [torch.stack(distribution(list(row / tt))) for row in teacher]
    codes = sinkhorn_codes(teacher, tt, rounds) if rounds else soft
    own = [torch.stack(distribution(list(row / ts))) for row in student]
    return torch.stack([-(c * q.log()).sum() for c, q in zip(codes, own, strict=True)]).mean()


@pytest.mark.parametrize(("ts", "tt", "rounds"), [(0.1, 0.03, 3), (0.1, 0.07, 0), (0.5, 0.2, 1)])
@pytest.mark.parametrize(("batch", "prototypes"), [(1, 3), (6, 4)])
def test_prototypes(ts, tt, rounds, batch, prototypes):
    student, teacher = (rows(batch, prototypes, k).tanh() for k in range(2))
    student.requires_grad_()
    loss = prototype_distillation(
        student, teacher, student_temperature=ts, teacher_temperature=tt, iterations=rounds
    )
    assert_equal(loss, prototype_loss(student, teacher, ts, tt, rounds), [student])


def test_sinkhorn_uses_prototypes_that_a_softmax_leaves_out():
    """A teacher that prefers one prototype for all images, a little: the two losses differ."""
    teacher = 0.1 * rows(8, 4, 0) + torch.tensor([1.0, 0, 0, 0])
    student = rows(8, 4, 1)
    losses = [prototype_distillation(student, teacher, iterations=rounds) for rounds in (0, 3)]
    assert abs(losses[0] - losses[1]) > 1e-2


def net() -> nn.Module:
    parts = [nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts)


def build(kind: str, **options) -> Distill:
    torch.manual_seed(0)
    teacher = nn.Sequential(net(), nn.Linear(6, 4))
    return Distill(net(), teacher=teacher, kind=kind, layers=1, **options).double()


@pytest.mark.parametrize("queue_size", [3, 7, 20])
def test_the_queue_over_several_steps(queue_size):
    """The loss sees the queue before the batch enters; then the oldest rows make room."""
    method = build("similarities", queue_size=queue_size, teacher_temperature=0.1)
    queue = list(method.objective.queue.rows.clone())
    at = 0
    for step in range(4):
        images = torch.randn(5, 3, 6, 6, dtype=torch.float64)
        output = method.training_loss({"views": [images]})
        outputs = method.objective.head(method.backbone(images))
        target = method.teacher(images)
        expected = seed_loss(outputs, target, queue, 0.2, 0.1)
        assert output.loss.item() == pytest.approx(expected.item(), rel=1e-10), step
        parameters = list(method.backbone.parameters())
        mine, theirs = (torch.autograd.grad(v, parameters) for v in (output.loss, expected))
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)
        for row in target:
            queue[at % queue_size] = row / row.norm()
            at += 1
        torch.testing.assert_close(method.objective.queue.rows, torch.stack(queue))


@pytest.mark.parametrize(("options", "expected"), [
    ({}, (0.1, 0.03, 3)),
    ({"sinkhorn_iterations": 0, "teacher_temperature": 0.07}, (0.1, 0.07, 0)),
])  # fmt: skip
def test_prototypes_in_the_method(options, expected):
    """The student's scores are cosines of its projection with as many prototypes of its own."""
    method = build("prototypes", out_dim=5, **options)
    views = [torch.randn(4, 3, 6, 6, dtype=torch.float64) for _ in range(2)]
    output = method.training_loss({"views": views})
    projector, own = method.objective.head
    assert own.weight.shape == (4, 5)
    z = projector(method.backbone(torch.cat(views)))
    student = torch.stack(
        [torch.stack([F.cosine_similarity(x, w, 0) for w in own.weight]) for x in z]
    )
    loss = prototype_loss(student, method.teacher(torch.cat(views)), *expected)
    assert_equal(output.loss, loss, [*method.backbone.parameters(), own.weight])


@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize("seen", [1, 2])
def test_local_crops_learn_each_global_crops_prototypes(seen, rounds):
    """VISSL's loops: a crop of the teacher's learns its own shares, a further one those of each."""
    images, total, prototypes = 3, seen + 2, 4
    student = rows(total * images, prototypes, 0).tanh().requires_grad_()
    teacher = rows(seen * images, prototypes, 1).tanh()
    loss = prototype_distillation(
        student, teacher, crops=seen, teacher_temperature=0.1, iterations=rounds
    )
    soft = [torch.stack(distribution(list(row / 0.1))) for row in teacher]
    codes = torch.stack(sinkhorn_codes(teacher, 0.1, rounds) if rounds else soft).chunk(seen)
    own = torch.stack([torch.stack(distribution(list(r / 0.1))) for r in student]).chunk(total)
    pairs = [(g, v) for g in range(seen) for v in (g, *range(seen, total))]
    terms = [-(codes[g] * own[v].log()).sum(1).mean() for g, v in pairs]
    assert_equal(loss, torch.stack(terms).mean(), [student])


def test_the_teacher_sees_global_crops_only():
    method = build("prototypes", out_dim=5)
    views = [torch.randn(4, 3, size, size, dtype=torch.float64) for size in (6, 6, 4, 4)]
    sizes = []
    method.teacher.register_forward_hook(lambda _, args, out: sizes.append(args[0].shape))
    output = method.training_loss({"views": views, "n_global": 2})
    assert sizes == [(8, 3, 6, 6)]
    assert output.embedding.shape == (16, 6)
    globals_only = method.training_loss({"views": views[:2], "n_global": 2}).loss
    assert abs(output.loss - globals_only) > 1e-3


def test_scores_of_other_images_are_refused():
    for batch, crops in ((8, 2), (7, 1), (9, 0)):
        with pytest.raises(ValueError, match="no whole crops of the same images"):
            prototype_distillation(rows(batch, 4, 0), rows(3, 4, 1), crops=crops)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.6, 1.0])
def test_soft_is_the_weighted_sum_over_known_labels(alpha):
    method = build("soft", temperature=3.0, alpha=alpha)
    views = [torch.randn(4, 3, 6, 6, dtype=torch.float64) for _ in range(2)]
    label = torch.tensor([1, -1, 3, 0])
    loss = method.training_loss({"views": views, "label": label}).loss
    x = torch.cat(views)
    logits = method.predict(x)
    taught = hinton(logits, method.teacher(x), 3.0)
    pairs = zip(logits, label.repeat(2).tolist(), strict=True)
    known = [-torch.log(distribution(list(row))[y]) for row, y in pairs if y >= 0]
    expected = alpha * taught + (1 - alpha) * torch.stack(known).mean()
    assert_equal(loss, expected, list(method.backbone.parameters()))


def test_features_are_twice_one_minus_the_cosine():
    method = build("features").eval()
    images = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    output = method.training_loss({"views": [images]})
    pairs = zip(method.objective.head(output.embedding), method.teacher(images), strict=True)
    terms = [2 - 2 * (a @ b) / ((a @ a) * (b @ b)).sqrt() for a, b in pairs]
    assert output.loss.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-10)


def two_steps(kind: str) -> dict[str, torch.Tensor]:
    """Losses and averaged gradients on this rank's rows of two batches, and where they led."""
    method = build(kind, queue_size=7, alpha=0.5)
    share = 8 // d.world_size()
    mine, seen = slice(d.rank() * share, (d.rank() + 1) * share), {}
    for step in range(2):
        images = rows(8, 3 * 36, 10 + step).view(8, 3, 6, 6)[mine]
        label = torch.tensor([0, -1, -1, -1, 1, 2, 3, 0])[mine]
        loss = method.training_loss({"views": [images], "label": label}).loss
        weight = method.backbone[0].weight
        (grad,) = torch.autograd.grad(loss, weight)
        seen[f"loss {step}"] = d.all_gather(loss).mean()
        seen[f"gradient {step}"] = d.all_gather(grad[None]).mean(0)
        with torch.no_grad():
            weight -= seen[f"gradient {step}"]
    return seen | method.state_dict()


def all_kinds() -> dict[str, dict[str, torch.Tensor]]:
    return {kind: two_steps(kind) for kind in ("similarities", "prototypes", "soft")}


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_are_one_process_with_the_whole_batch(ranks):
    """The queue takes every rank's rows in order; Sinkhorn and unknown labels see all ranks."""
    whole = all_kinds()
    for result in run_ranks(ranks, all_kinds):
        for kind, values in whole.items():
            for name, value in values.items():
                torch.testing.assert_close(result[kind][name], value, rtol=1e-9, atol=1e-12)
