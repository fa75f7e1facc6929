"""I-JEPA's blocks: fixed shapes, disjoint context, true rectangles, no dependence on the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sslight.augment.jepa_masks import JepaMasks, padded
from sslight.augment.parts import Part

INDEX = torch.arange(4096)


def draw(part: JepaMasks, epoch: int = 0, index: Tensor = INDEX) -> dict[str, Any]:
    return part.draw(7, epoch, index)


def painted(numbers: Tensor, grid: int) -> Tensor:
    """Patch numbers [..., K] as masks [..., grid, grid]."""
    mask = torch.zeros(*numbers.shape[:-1], grid * grid, dtype=torch.bool)
    return mask.scatter_(-1, numbers, True).unflatten(-1, (grid, grid))


def extent(mask: Tensor) -> tuple[Tensor, Tensor]:
    return mask.any(-1).sum(-1), mask.any(-2).sum(-1)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("grid", [4, 7, 8, 14, 16])
def test_shapes_are_fixed_and_the_context_holds_no_target(grid: int, official: bool) -> None:
    part = JepaMasks(grid, official=official)
    made = draw(part)
    targets, valid, context = made["targets"], made["target_valid"], made["context"]
    assert targets.shape == valid.shape == (4096, 4, part.largest_target)
    assert context.shape == (4096, round(grid * grid / 4))
    assert (context.diff(dim=1) > 0).all()
    blocks = painted(targets, grid)
    assert not (blocks.any(1) & painted(context, grid)).any()
    height, width = extent(blocks)
    assert torch.equal(height * width, valid.sum(-1))  # rectangles, filled up by own patches
    assert torch.equal(blocks.sum((-1, -2)), valid.sum(-1))


def test_scale_and_aspect_are_in_their_ranges_and_vary_apart() -> None:
    height, width = (x.double() for x in extent(painted(draw(JepaMasks(32))["targets"], 32)))
    area, aspect = height * width / 32**2, height / width
    assert 0.135 < area.min() < 0.155
    assert 0.195 < area.max() < 0.215
    assert area.mean() == pytest.approx(0.175, abs=0.001)
    assert 0.7 < aspect.min() < 0.78
    assert 1.45 < aspect.max() < 1.65
    assert aspect.mean() == pytest.approx(1.125, abs=0.005)
    pairs = torch.stack([area.flatten(), aspect.flatten()])
    assert abs(torch.corrcoef(pairs)[0, 1]) < 0.05
    assert abs(torch.corrcoef(area.T)[0, 1]) < 0.05  # each target draws its own size


def test_targets_reach_every_border_and_contexts_every_side() -> None:
    made = draw(JepaMasks(14))
    covered = painted(made["targets"], 14).double().mean((0, 1))
    kept = painted(made["context"], 14).double().mean(0)
    for picture in (covered, kept):
        assert picture.min() > 0
        assert torch.allclose(picture, picture.flip(0), atol=0.04)
        assert torch.allclose(picture, picture.flip(1), atol=0.04)


def test_the_official_draw_keeps_its_quirks() -> None:
    made = draw(JepaMasks(14, official=True))
    blocks = painted(made["targets"], 14)
    assert not blocks[..., -1].any()
    assert not blocks[..., -1, :].any()
    context = painted(made["context"], 14)
    assert not context[:, -1].any()  # 13 x 13 at the top left, of which the first are kept
    assert not context[:, :, -1].any()
    height, width = extent(blocks)
    assert (height == height[:, :1]).all()
    assert (width == width[:, :1]).all()
    area, aspect = (height * width).double(), height.double() / width
    assert torch.corrcoef(torch.stack([area[:, 0], aspect[:, 0]]))[0, 1] > 0.5


def test_a_sample_gets_its_blocks_in_any_batch() -> None:
    part, some = JepaMasks(14), torch.tensor([4000, 3, 77])
    whole, few = draw(part, epoch=2), part.draw(7, torch.tensor([2, 2, 2]), some)
    assert whole.pop("mask_grid") == few["mask_grid"] == 14
    for key, value in whole.items():
        assert torch.equal(few[key], value[some]), key
        assert not torch.equal(draw(part, epoch=3)[key], value), key
    assert draw(part, index=INDEX[:0])["targets"].shape == (0, 4, 42)


def test_targets_coincide_where_nothing_else_leaves_enough() -> None:
    part = JepaMasks(14, context_tokens=127)  # 13 x 13 - 42
    made = draw(part)
    assert made["context"].shape == (4096, 127)
    same = (made["targets"] == made["targets"][:, :1]).flatten(1).all(1)
    assert same.double().mean() > 0.9
    usual = draw(JepaMasks(14))["targets"]
    assert not (usual == usual[:, :1]).flatten(1).all(1).any()


def test_padded_numbers_the_true_entries() -> None:
    mask = torch.tensor([[False, True, False, True], [False, False, True, False]])
    numbers, valid = padded(mask, 3)
    assert numbers.tolist() == [[1, 3, 1], [2, 2, 2]]
    assert valid.tolist() == [[True, True, False], [True, False, False]]


def test_a_part_is_checked_when_it_is_made() -> None:
    assert isinstance(JepaMasks(14), Part)
    assert JepaMasks(14, scale=[0.15, 0.2]) == JepaMasks(14)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"may have only 127 of 196 patches left.* is 128; give"):
        JepaMasks(14, context_tokens=128)
    with pytest.raises(ValueError, match="masks: aspect must be a pair 0 < low <= high"):
        JepaMasks(14, aspect=(1.5, 0.75))
    with pytest.raises(ValueError, match="masks: scale must lie within"):
        JepaMasks(14, scale=(0.15, 1.2))
    with pytest.raises(ValueError, match="masks: targets must be a whole number from 1 on"):
        JepaMasks(14, targets=0)
