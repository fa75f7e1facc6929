"""RotNet's objective against loops written from the paper, pixels turned one at a time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.methods.rotnet import RotNet
from sslight.modules.rotation import draw_turns


@pytest.fixture(autouse=True)
def _first_epoch(monkeypatch):
    monkeypatch.setattr(RotNet, "clock", property(lambda self: SimpleNamespace(epoch=0)))


def build(all_rotations: bool) -> RotNet:
    torch.manual_seed(0)
    parts = [nn.Conv2d(2, 4, 2), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return RotNet(nn.Sequential(*parts), all_rotations=all_rotations).double()


def turn_once(image: torch.Tensor) -> torch.Tensor:
    """Transpose, then flip vertically: section 3's way to turn by 90 degrees."""
    out = torch.empty_like(image)
    size = image.shape[-1]
    for row in range(size):
        for column in range(size):
            out[:, size - 1 - column, row] = image[:, row, column]
    return out


def oracle(method: RotNet, images: torch.Tensor, turns: list[list[int]]) -> torch.Tensor:
    """Equations 2 and 3: the mean over images of the mean over their turns of -log F^y(g(X|y))."""
    per_image = []
    for image, mine in zip(images, turns, strict=True):
        terms = []
        for turn in mine:
            x = image
            for _ in range(turn):
                x = turn_once(x)
            logits = method.head(method.backbone(x[None]))[0]
            terms.append(-torch.log(logits[turn].exp() / logits.exp().sum()))
        per_image.append(sum(terms) / len(terms))
    return torch.stack(per_image).mean()


@pytest.mark.parametrize("all_rotations", [True, False])
@pytest.mark.parametrize(("count", "size"), [(1, 5), (6, 8)])
def test_value_and_gradient_equal_the_loops(all_rotations, count, size):
    generator = torch.Generator().manual_seed(count)
    images = torch.randn(count, 2, size, size, generator=generator, dtype=torch.float64)
    index = torch.arange(count) + 3
    method = build(all_rotations)
    method.seed = 9
    drawn = draw_turns(9, 0, index).tolist()
    turns = [[0, 1, 2, 3]] * count if all_rotations else [[turn] for turn in drawn]
    loss = method.training_loss({"views": [images], "index": index}).loss
    expected = oracle(method, images, turns)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    parameters = list(method.parameters())
    mine, theirs = (torch.autograd.grad(value, parameters) for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-13)
