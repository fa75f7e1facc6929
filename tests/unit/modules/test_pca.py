from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.modules.pca import principal_components


def rows() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([5.0, 0.1, 2.0, 1.0], dtype=torch.float64)
    return torch.randn(50, 4, generator=generator, dtype=torch.float64) * spread + 7


def test_components_are_those_of_the_singular_values():
    left, values, _ = torch.linalg.svd(rows() - rows().mean(0), full_matrices=False)
    projected = principal_components(rows(), 3)
    torch.testing.assert_close(projected.abs(), (left * values)[:, :3].abs())


def test_all_components_keep_the_distances():
    torch.testing.assert_close(
        torch.cdist(principal_components(rows(), 4), principal_components(rows(), 4)),
        torch.cdist(rows(), rows()),
        atol=1e-6,
        rtol=0,
    )


def test_blocks_do_not_matter(monkeypatch):
    whole = principal_components(rows(), 2)
    monkeypatch.setattr("sslight.modules.pca._ROWS", 7)
    torch.testing.assert_close(principal_components(rows(), 2).abs(), whole.abs())


@pytest.mark.parametrize("dim", [0, 5])
def test_wrong_numbers_are_said(dim):
    with pytest.raises(ValueError, match=rf"\(50, 4\) and dim is {dim}; .* 1 to D"):
        principal_components(rows(), dim)


def on_rank() -> torch.Tensor:
    sign = 1 - 2 * d.rank()  # as if another machine chose another sign
    mean = rows().mean(0)
    return principal_components(sign * (rows() - mean), 2) * sign


@pytest.mark.ranks
def test_ranks_take_the_signs_of_rank_0():
    first, second = run_ranks(2, on_rank)
    torch.testing.assert_close(first, second)
