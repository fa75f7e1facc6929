from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sslight.modules.positions import fill_with_sincos, resized_grid, sincos_positions


def test_sincos_against_a_loop():
    """The first half encodes x."""
    table = sincos_positions(2, 3, 8)
    assert table.shape == (6, 8)
    for y in range(2):
        for x in range(3):
            row = []
            for place in (x, y):
                angles = [place / 10000 ** (k / 2) for k in range(2)]
                row += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert table[3 * y + x].tolist() == pytest.approx(row)


def test_a_table_is_filled_and_frozen():
    table = torch.nn.Parameter(torch.ones(1, 2 + 6, 8))
    fill_with_sincos(table, (2, 3))
    assert not table.requires_grad
    assert not table[0, :2].any()
    torch.testing.assert_close(table[0, 2:], sincos_positions(2, 3, 8).float())


@pytest.mark.parametrize("new", [(2, 2), (3, 7), (9, 4), (4, 3)])
@pytest.mark.parametrize("old", [(4, 4), (3, 5)])
def test_resizing_is_torchs_bicubic_interpolation(old, new):
    positions = torch.randn(2, old[0] * old[1], 6, dtype=torch.float64, requires_grad=True)
    grid = positions.reshape(2, *old, 6).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=new, mode="bicubic", align_corners=False)
    expected = expected.permute(0, 2, 3, 1).reshape(2, -1, 6)
    resized = resized_grid(positions, old, new)
    torch.testing.assert_close(resized, expected)
    weight = torch.randn_like(resized)
    ours, theirs = (
        torch.autograd.grad((x * weight).sum(), positions)[0] for x in (resized, expected)
    )
    torch.testing.assert_close(ours, theirs)


def test_the_same_grid_is_the_same_tensor_and_the_type_stays():
    positions = torch.randn(1, 16, 6)
    assert resized_grid(positions, (4, 4), (4, 4)) is positions
    assert resized_grid(positions.bfloat16(), (4, 4), (2, 2)).dtype == torch.bfloat16


def test_a_width_that_cannot_be_quartered():
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        sincos_positions(2, 2, 6)
