"""Rows that change places within the global batch."""

from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight.distributed import exchanged, rank, world_size

BATCH = 12


def rows() -> torch.Tensor:
    """A global batch, whose rows tell who they are."""
    return torch.arange(BATCH * 6.0).view(BATCH, 2, 3)


def orders() -> dict[str, torch.Tensor]:
    whole = torch.arange(BATCH)
    return {
        "as they are": whole,
        "reversed": whole.flip(0),
        "to one rank first": torch.cat([whole[::2], whole[1::2]]),
        "drawn": torch.randperm(BATCH, generator=torch.Generator().manual_seed(3)),
    }


def on_rank() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    mine = rows().chunk(world_size())[rank()]
    there = {name: exchanged(mine, order) for name, order in orders().items()}
    return {name: (x, exchanged(x, orders()[name].argsort())) for name, x in there.items()}


def test_one_process_permutes():
    for name, (there, back) in on_rank().items():
        assert torch.equal(there, rows()[orders()[name]]), name
        assert torch.equal(back, rows()), name


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_permute_the_global_batch(ranks: int):
    results = run_ranks(ranks, on_rank)
    for name, order in orders().items():
        assert torch.equal(torch.cat([r[name][0] for r in results]), rows()[order]), name
        assert torch.equal(torch.cat([r[name][1] for r in results]), rows()), name


def test_no_gradient_flows():
    assert not exchanged(rows().requires_grad_(), torch.arange(BATCH)).requires_grad
