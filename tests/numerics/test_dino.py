"""DINO's loss, center and head against loops written from the paper, and against lightly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sslight.losses.dino import centered_softmax, dino_loss, mean_entropy
from sslight.modules.center import Center
from sslight.modules.dino_head import DINOHead


def crops(count: int, batch: int, classes: int = 7, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 * count + batch + seed)
    return [
        torch.randn(batch, classes, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def probabilities(row: Tensor, temperature: float, center: Tensor | float = 0.0) -> list[Tensor]:
    """Equation 1, and the centering of section 3.1, one exponential at a time."""
    powers = [torch.exp(value) for value in (row - center) / temperature]
    return [power / sum(powers) for power in powers]


def oracle(
    students: list[Tensor],
    teachers: list[Tensor],
    center: Tensor,
    t_student: float,
    t_teacher: float,
) -> Tensor:
    """Equation 3: H(teacher, student) over pairs of different crops, the batch mean of each."""
    terms = []
    for t, teacher in enumerate(teachers):
        for s, student in enumerate(students):
            if s == t:
                continue
            for wanted, given in zip(teacher.detach(), student, strict=True):
                target = probabilities(wanted, t_teacher, center)
                guess = probabilities(given, t_student)
                terms.append(-sum(p * torch.log(q) for p, q in zip(target, guess, strict=True)))
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("count", "n_global"), [(2, 2), (2, 1), (5, 2), (4, 3)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("t_student", "t_teacher"), [(0.1, 0.04), (0.5, 0.2)])
def test_value_and_gradient_equal_the_loops(count, n_global, batch, t_student, t_teacher):
    students, teachers = crops(count, batch), crops(n_global, batch, seed=1)
    center = torch.linspace(-0.3, 0.3, 7, dtype=torch.float64)
    targets = [centered_softmax(teacher, center, t_teacher) for teacher in teachers]
    loss = dino_loss(students, targets, t_student)
    expected = oracle(students, teachers, center, t_student, t_teacher)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-11)
    for mine, theirs in zip(
        torch.autograd.grad(loss, students, allow_unused=True),
        torch.autograd.grad(expected, students, allow_unused=True),
        strict=True,
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_pairs_of_the_same_crop_would_be_noticed():
    students, teachers = crops(2, 3), crops(2, 3, seed=1)
    targets = [centered_softmax(teacher, torch.zeros(7), 0.1) for teacher in teachers]
    swapped = dino_loss(students, targets[::-1], 0.1)
    assert abs(dino_loss(students, targets, 0.1) - swapped) > 1e-3


def test_center_is_the_moving_average_of_raw_logits():
    """Equation 4 over five steps; a center of probabilities, or one moved first, is another."""
    center, expected = Center(7, 0.9).double(), torch.zeros(7, dtype=torch.float64)
    for step in range(5):
        rows = torch.cat(crops(2, 4, seed=step))
        mean = torch.stack([sum(column) / len(column) for column in rows.T])
        expected = 0.9 * expected + 0.1 * mean
        center.update(rows)
        torch.testing.assert_close(center.value, expected, rtol=1e-12, atol=1e-14)
    assert not center.value.requires_grad


@pytest.mark.parametrize(("count", "n_global"), [(2, 2), (6, 2)])
def test_agrees_with_lightly(count, n_global):
    lightly = pytest.importorskip("lightly.loss")
    theirs = lightly.DINOLoss(output_dim=7, center_momentum=0.8).double()
    center = Center(7, 0.8).double()
    for step in range(4):
        students, teachers = crops(count, 5, seed=step), crops(n_global, 5, seed=step + 50)
        temperature = 0.04 + 0.01 * step
        logits = torch.cat(teachers).detach()
        targets = centered_softmax(logits, center.value, temperature).chunk(n_global)
        loss = dino_loss(students, targets, 0.1)
        center.update(logits)
        with torch.no_grad():
            peer_teachers = [teacher.detach() for teacher in teachers]
        expected = theirs(peer_teachers, students, teacher_temp=temperature)
        # lightly makes a float32 tensor of the temperature.
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        torch.testing.assert_close(center.value, theirs.center[0, 0], rtol=1e-6, atol=1e-9)
        for mine, other in zip(
            torch.autograd.grad(loss, students),
            torch.autograd.grad(expected, students),
            strict=True,
        ):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("bn", [False, True])
@pytest.mark.parametrize("norm_last_layer", [False, True])
def test_the_head_agrees_with_lightlys(bn, norm_last_layer):
    heads = pytest.importorskip("lightly.models.modules.heads")
    theirs = heads.DINOProjectionHead(6, 12, 5, 9, bn, norm_last_layer=norm_last_layer)
    mine = DINOHead(6, 12, 5, 9, bn=bn, norm_last_layer=norm_last_layer)
    pairs = {"last_layer.weight": "last_layer.weight_v", "last_layer.length": "last_layer.weight_g"}
    names = dict(theirs.named_parameters())
    lightly_layers = [layer for layer in theirs.layers if any(True for _ in layer.parameters())]
    my_layers = [layer for layer in mine if any(True for _ in layer.parameters())][:-1]
    for ours, peer in zip(my_layers, lightly_layers, strict=True):
        ours.load_state_dict(peer.state_dict(), strict=bn is False)
    for name, parameter in mine.last_layer.named_parameters():
        parameter.data.copy_(names[pairs[f"last_layer.{name}"]])
    x = torch.randn(4, 6)
    torch.testing.assert_close(mine(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_entropy_from_certain_to_flat():
    certain = torch.eye(4)
    assert mean_entropy(certain).item() == 0
    assert mean_entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(math.log(8))
    mixed = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert mean_entropy(mixed).item() == pytest.approx(math.log(2) / 2)


def test_float32_at_a_small_temperature_and_with_many_classes():
    students, teachers = crops(4, 3, 5000), crops(2, 3, 5000, seed=1)
    center = torch.zeros(5000, dtype=torch.float64)
    targets = [centered_softmax(teacher, center, 0.01) for teacher in teachers]
    expected = dino_loss(students, targets, 0.01)
    single = [student.detach().float() for student in students]
    targets = [centered_softmax(teacher.float(), center.float(), 0.01) for teacher in teachers]
    assert dino_loss(single, targets, 0.01).item() == pytest.approx(expected.item(), rel=1e-5)


def test_low_precision_is_computed_in_float32():
    students = [student.detach().bfloat16() for student in crops(2, 4)]
    target = centered_softmax(students[0], torch.zeros(7, dtype=torch.bfloat16), 0.1)
    assert target.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = dino_loss(students, [target], 0.1)
    assert torch.equal(loss, dino_loss([s.float() for s in students], [target], 0.1))
