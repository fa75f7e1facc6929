from __future__ import annotations

import pytest
import torch
from ranks import run_ranks
from torch import nn

from sslight import distributed as d
from sslight.modules.split_batch_norm import SplitBatchNorm, split_batch_norms


def images(batch: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, 5, 5, generator=generator, dtype=torch.float64)


def split_and_plain(splits: int, **options) -> tuple[SplitBatchNorm, nn.BatchNorm2d]:
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(3, **options).double()
    if plain.affine:
        nn.init.normal_(plain.weight)
        nn.init.normal_(plain.bias)
    split = SplitBatchNorm(3, splits, **options).double()
    split.load_state_dict(plain.state_dict())
    return split, plain


@pytest.mark.parametrize("splits", [1, 2, 4])
@pytest.mark.parametrize("affine", [True, False])
def test_each_part_is_normalised_as_a_batch_of_its_own(splits, affine):
    split, plain = split_and_plain(splits, affine=affine)
    x = images().requires_grad_()
    out, expected = split(x), torch.cat([plain(part) for part in x.chunk(splits)])
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).double()
    inputs = [x, *split.parameters()], [x, *plain.parameters()]
    mine = torch.autograd.grad((out * weights).sum(), inputs[0])
    theirs = torch.autograd.grad((expected * weights).sum(), inputs[1])
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_move_by_the_mean_of_the_parts(momentum):
    split, _ = split_and_plain(2, momentum=momentum)
    parts = [split_and_plain(1, momentum=momentum)[1] for _ in range(2)]
    for step in range(3):
        x = images() * (step + 1)
        split(x)
        for norm, part in zip(parts, x.chunk(2), strict=True):
            norm(part)
    for name in ("running_mean", "running_var"):
        expected = sum(getattr(norm, name) for norm in parts) / 2
        torch.testing.assert_close(getattr(split, name), expected)
    assert split.num_batches_tracked == 3
    assert not split.running_mean.requires_grad


def test_in_eval_mode_it_is_torchs():
    split, plain = split_and_plain(3)
    assert torch.equal(split.eval()(images(7)), plain.eval()(images(7)))


def test_a_batch_that_does_not_split_is_refused():
    with pytest.raises(ValueError, match="does not fall into 3 equal parts"):
        split_and_plain(3)[0](images(8))
    assert "splits=3" in repr(split_and_plain(3)[0])


def test_conversion_keeps_parameters_names_and_sharing():
    norm = nn.BatchNorm1d(4)
    net = nn.Sequential(nn.Linear(4, 4), norm, nn.ReLU(), norm)
    names, weight = list(net.state_dict()), norm.weight
    assert split_batch_norms(net, 1)[1] is norm
    assert split_batch_norms(net, 2) is net
    assert isinstance(net[1], SplitBatchNorm)
    assert net[1] is net[3]
    assert net[1].weight is weight
    assert list(net.state_dict()) == names
    assert net(torch.randn(6, 4)).shape == (6, 4)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(ValueError, match="bn_splits is 0"):
        split_batch_norms(nn.Linear(2, 2), 0)
    with pytest.raises(ValueError, match="SyncBatchNorm is a batch norm with a forward of its own"):
        split_batch_norms(nn.Sequential(d.SyncBatchNorm(2)), 2)


def on_rank() -> torch.Tensor:
    return split_and_plain(1)[1](images().chunk(d.world_size())[d.rank()]).detach()


@pytest.mark.ranks
def test_parts_are_what_devices_would_see():
    expected = split_and_plain(2)[0](images())
    torch.testing.assert_close(torch.cat(run_ranks(2, on_rank)), expected.detach())
