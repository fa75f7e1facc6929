from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d


def test_one_process_is_rank_0_of_1():
    assert (d.rank(), d.world_size(), d.is_distributed()) == (0, 1, False)


@pytest.mark.parametrize("f", [d.gather_with_grad, d.sum_over_ranks, d.mean_over_ranks])
def test_identity_with_gradient_outside_a_group(f):
    x = torch.randn(3, 2, requires_grad=True)
    assert f(x) is x


def test_no_ops_outside_a_group():
    x = torch.randn(3, 2, requires_grad=True)
    assert torch.equal(d.all_gather(x), x)
    assert not d.all_gather(x).requires_grad
    assert d.all_gather(torch.tensor(2.0)).shape == (1,)
    assert d.all_reduce_max(5) == 5
    assert d.broadcast_object({"a": 1}) == {"a": 1}
    d.broadcast(x)


def test_a_scalar_cannot_be_gathered_with_gradient():
    with pytest.raises(ValueError, match="got a scalar"):
        d.gather_with_grad(torch.tensor(1.0))


def on_ranks():
    r = d.rank()
    x = torch.full((2, 3), float(r), dtype=torch.float64, requires_grad=True)
    weight = torch.arange(1.0, 1 + 6 * d.world_size(), dtype=torch.float64)
    out = {"plain": d.all_gather(x), "scalar": d.all_gather(torch.tensor(r))}
    out["flags"] = d.all_gather(torch.tensor([r == 1]))
    out["half"] = d.all_gather(torch.full((1,), r, dtype=torch.bfloat16)).float()
    gathered = d.gather_with_grad(x)
    scale = 10.0**r  # each rank's loss weighs differently
    (out["gather_grad"],) = torch.autograd.grad((gathered.flatten() * weight).sum() * scale, x)
    summed = d.sum_over_ranks(x.t())
    out["sum"] = summed.detach()
    (out["sum_grad"],) = torch.autograd.grad(summed.sum() * scale, x)
    (out["mean_grad"],) = torch.autograd.grad(d.mean_over_ranks(x).sum() * scale, x)
    out["max"] = d.all_reduce_max(10 - r)
    out["object"] = d.broadcast_object({"from": r}, src=1)
    out["columns"] = torch.full((2, 3), r).T
    d.broadcast(out["columns"], src=1)
    return out


@pytest.mark.ranks
def test_on_two_ranks():
    for r, out in enumerate(run_ranks(2, on_ranks)):
        assert out["plain"].tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2
        assert out["scalar"].tolist() == [0, 1]
        assert out["columns"].tolist() == [[1, 1]] * 3
        assert out["flags"].tolist() == [False, True]
        assert out["half"].tolist() == [0, 1]
        rows = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3) + 6 * r
        torch.testing.assert_close(out["gather_grad"], 11 * rows)
        assert (out["sum"] == 1).all()
        assert out["sum"].shape == (3, 2)
        assert (out["sum_grad"] == 11).all()
        assert (out["mean_grad"] == 5.5).all()
        assert out["max"] == 10
        assert out["object"] == {"from": 1}
