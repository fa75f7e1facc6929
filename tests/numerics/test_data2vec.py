"""data2vec against its equations, written as loops around the backbone's own blocks."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor

from sslight.methods.data2vec import Data2Vec
from sslight.schedules import Clock


def method(**options: object) -> Data2Vec:
    torch.manual_seed(0)
    options = {"target_blocks": 2, **options}
    return Data2Vec(tiny.vit(), **options).double()  # type: ignore[arg-type]


def batch() -> dict[str, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    views = torch.randn(3, 3, 16, 16, generator=generator, dtype=torch.float64)
    return {"views": [views], "masks": [torch.rand(3, 16, generator=generator) < 0.6]}


def layer_norm(x: Tensor) -> Tensor:
    mean, variance = x.mean(), ((x - x.mean()) ** 2).mean()
    return (x - mean) / (variance + 1e-5).sqrt()


def equations(
    data2vec: Data2Vec, images: Tensor, mask: Tensor, top: int, beta: float, again: bool
) -> Tensor:
    """Equations 1 to 3: targets, then the loss, a patch and a channel at a time."""
    teacher, outputs = data2vec.teacher.teacher, []
    with torch.no_grad():
        x = teacher._embed(images, None, None)
        for block in teacher.blocks:
            x = block(x)
            outputs.append(x[:, 1:])
    tokens = data2vec.backbone.tokens(images, mask=mask)[:, 1:]
    terms = []
    for b, t in mask.nonzero().tolist():
        target = sum(layer_norm(output[b, t]) for output in outputs[-top:]) / top
        target = layer_norm(target) if again else target
        predicted = data2vec.predictor.weight @ tokens[b, t] + data2vec.predictor.bias
        for y, f in zip(target, predicted, strict=True):
            apart = (y - f).abs()
            terms.append((y - f) ** 2 / (2 * beta) if apart <= beta else apart - beta / 2)
    return torch.stack(terms).mean()


@pytest.mark.parametrize("top", [1, 2])
@pytest.mark.parametrize("beta", [0.3, 2.0])
@pytest.mark.parametrize("again", [False, True], ids=["", "average"])
def test_value_and_gradients_are_the_papers(top: int, beta: float, again: bool) -> None:
    ours = method(target_blocks=top, beta=beta, normalize_average=again)
    made = batch()
    with torch.no_grad():
        for parameter in ours.teacher.teacher.parameters():
            parameter.mul_(1.1)  # not the student any more
    expected = equations(ours, made["views"][0], made["masks"][0], top, beta, again)
    loss = ours.training_loss(made).loss  # type: ignore[arg-type]
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    learnt = [p for p in ours.parameters() if p.requires_grad]
    for got, want in zip(
        torch.autograd.grad(loss, learnt), torch.autograd.grad(expected, learnt), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-12)


def test_normalising_the_average_only_is_another_target() -> None:
    ours, made = method(), batch()
    teacher = ours.teacher.teacher
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(4)  # so that blocks do something
    outputs = [x[0, 1] for x in teacher.block_outputs(made["views"][0], 2)]
    targets, _ = ours._targets(made["views"][0])
    averaged = sum(layer_norm(x) for x in outputs) / 2
    torch.testing.assert_close(targets[0, 0], averaged, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(targets[0, 0], layer_norm(sum(outputs)), atol=1e-3)


def test_the_teacher_is_the_moving_average_of_what_the_student_was() -> None:
    ours = method(momentum=0.9)
    expected = ours.backbone.norm.weight.detach().clone()
    for step in range(3):
        with torch.no_grad():
            ours.backbone.norm.weight.add_(step + 1)
        ours.teacher.after_step(Clock(step, 10, 5))
        expected = 0.9 * expected + 0.1 * ours.backbone.norm.weight.detach()
    torch.testing.assert_close(ours.teacher.teacher.norm.weight, expected)
