from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sslight.distributed import SyncBatchNorm, convert_sync_batchnorm


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, momentum=0.3, eps=1e-3),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4, affine=False)),
        nn.Flatten(),
        nn.BatchNorm1d(4 * 36, track_running_stats=False),
    )


def test_conversion_keeps_parameters_buffers_names_and_mode():
    net = network()
    net[1].eval()
    plain = copy.deepcopy(net)
    parameters, buffers = dict(net.named_parameters()), dict(net.named_buffers())
    converted = convert_sync_batchnorm(net, group_size=2)
    assert converted is net
    assert [type(net[i]) for i in (1, 4)] == [SyncBatchNorm] * 2
    assert type(net[2][1]) is SyncBatchNorm
    assert all(p is parameters[name] for name, p in net.named_parameters())
    assert all(b is buffers[name] for name, b in net.named_buffers())
    assert list(net.state_dict()) == list(plain.state_dict())
    assert [m.training for m in net.modules()] == [m.training for m in plain.modules()]
    assert (net[1].momentum, net[1].eps, net[1].group_size) == (0.3, 1e-3, 2)
    assert (net[2][1].affine, net[4].track_running_stats) == (False, False)


@pytest.mark.parametrize("training", [True, False])
def test_one_rank_is_torchs_batch_norm(training):
    plain = network().train(training)
    converted = convert_sync_batchnorm(copy.deepcopy(plain))
    x = torch.randn(5, 3, 8, 8)
    assert torch.equal(converted(x), plain(x))
    for name, value in plain.state_dict().items():
        assert torch.equal(converted.state_dict()[name], value)


def test_frozen_and_shared_norms():
    shared = nn.BatchNorm1d(3).requires_grad_(False)
    net = convert_sync_batchnorm(nn.ModuleList([shared, shared]))
    assert net[0] is net[1]
    assert type(net[0]) is SyncBatchNorm
    assert not net[0].weight.requires_grad


def test_a_bare_batch_norm_is_returned_converted():
    assert type(convert_sync_batchnorm(nn.BatchNorm3d(3))) is SyncBatchNorm
    assert type(convert_sync_batchnorm(nn.SyncBatchNorm(3))) is SyncBatchNorm
    again = convert_sync_batchnorm(SyncBatchNorm(3), group_size=4)
    assert again.group_size == 4


def test_a_norm_with_its_own_forward_stays():
    class Split(nn.BatchNorm1d):
        def forward(self, x):
            return torch.cat([super(Split, self).forward(half) for half in x.chunk(2)])

    net = nn.Sequential(Split(3))
    with pytest.warns(UserWarning, match="Split has a forward of its own"):
        convert_sync_batchnorm(net)
    assert type(net[0]) is Split


def test_timms_norm_keeps_its_activation():
    layers = pytest.importorskip("timm.layers")
    plain = layers.BatchNormAct2d(3)
    x = torch.randn(4, 3, 5, 5)
    converted = convert_sync_batchnorm(nn.Sequential(copy.deepcopy(plain)))
    assert isinstance(converted[0], SyncBatchNorm)
    torch.testing.assert_close(converted(x), plain(x))
    assert (converted(x) >= 0).all()


def test_deepcopy_and_repr():
    norm = SyncBatchNorm(3, group_size=2)
    assert copy.deepcopy(norm).group_size == 2
    assert "group_size=2" in repr(norm)


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="group_size is 0"):
        SyncBatchNorm(3, group_size=0)
    with pytest.raises(ValueError, match=r"expected \[B, C"):
        SyncBatchNorm(3)(torch.randn(3))
