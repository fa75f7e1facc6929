from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

import sslight
from sslight.errors import RefusedRunError
from sslight.losses.in_batch import moco_v3_loss
from sslight.methods.moco_v3 import MoCoV3
from sslight.schedules import Clock


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture
def method():
    return MoCoV3(net(), hidden_dim=16, out_dim=5, momentum=0.9)


def views(count: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 8, 8, generator=generator) for _ in range(count)]


def test_loss_is_that_of_queries_and_keys(method):
    a, b = views()
    output = method.training_loss({"views": [a, b]})
    embedding = method.backbone(torch.cat([a, b]))
    queries = method.predictor(method.projector(embedding)).chunk(2)
    keys = method.teacher(torch.cat([a, b])).chunk(2)
    torch.testing.assert_close(output.loss, moco_v3_loss(queries, keys, 0.2))
    torch.testing.assert_close(output.embedding, embedding)


def test_only_the_online_network_learns(method):
    method.training_loss({"views": views()}).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name


def test_heads_are_the_papers():
    """Three and two layers, no biases, a norm after each, the last without scale and shift."""
    method = MoCoV3(net(), hidden_dim=16, out_dim=5)
    for head, layers in ((method.projector, 3), (method.predictor, 2)):
        linears = [m for m in head if isinstance(m, nn.Linear)]
        norms = [m for m in head if isinstance(m, nn.BatchNorm1d)]
        assert len(linears) == len(norms) == layers
        assert all(linear.bias is None for linear in linears)
        assert [norm.affine for norm in norms] == [True] * (layers - 1) + [False]
        assert head[-1] is norms[-1]


def test_a_resnets_predictor_ends_without_a_norm():
    """The authors' has two plain layers with one norm between them, and no biases."""
    method = MoCoV3(net(), hidden_dim=16, out_dim=5, layers=2, predictor_last_bn=False)
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [type(module) for module in method.predictor] == kinds
    assert all(m.bias is None for m in method.predictor if isinstance(m, nn.Linear))
    assert isinstance(method.projector[-1], nn.BatchNorm1d)


def test_momentum_rises_from_099_to_1():
    momentum = MoCoV3(net(), hidden_dim=4, out_dim=2).teacher.momentum
    assert momentum(Clock(0, 10, 5)) == pytest.approx(0.99)
    assert momentum(Clock(5, 10, 5)) == pytest.approx(0.995)
    assert momentum(Clock(10, 10, 5)) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["vit_t_16", "timm/vit_tiny_patch16_224"])
def test_the_patch_projection_can_stay_random(name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    vit = sslight.backbone(name, image_size=32)
    method = MoCoV3(vit, hidden_dim=8, out_dim=4, freeze_patch_embed=True)
    frozen = [n for n, p in method.backbone.named_parameters() if not p.requires_grad]
    part = "patch_embed.proj"
    assert {f"{part}.weight", f"{part}.bias"} <= set(frozen)
    assert all(n.startswith(part) for n in frozen)
    images = [torch.randn(2, 3, 32, 32) for _ in range(2)]
    method.training_loss({"views": images}).loss.backward()
    assert method.backbone.get_parameter(f"{part}.weight").grad is None


def test_positions_can_be_fixed():
    """In the teacher too, which is a copy."""
    vit = sslight.backbone("vit_t_16", image_size=32)
    learnt = vit.pos_embed.detach().clone()
    method = MoCoV3(vit, hidden_dim=8, out_dim=4, fixed_positions=True)
    assert not method.backbone.pos_embed.requires_grad
    assert not torch.equal(method.backbone.pos_embed, learnt)
    torch.testing.assert_close(method.teacher.teacher[0].pos_embed, method.backbone.pos_embed)
    with pytest.raises(RefusedRunError, match=r"has no fix_positions.*fixed_positions: false"):
        MoCoV3(net(), fixed_positions=True)


def test_a_wrapped_transformer_is_searched():
    """Torchvision's has another name for it."""
    wrapped = nn.Sequential(VisionTransformer(32, 16, 1, 2, 8, 16, num_classes=4))
    wrapped.embed_dim = 4
    method = MoCoV3(wrapped, hidden_dim=8, out_dim=4, freeze_patch_embed=True)
    assert not method.backbone[0].conv_proj.weight.requires_grad


def test_nothing_to_freeze_is_refused():
    with pytest.raises(RefusedRunError, match="Sequential has no patch embedding"):
        MoCoV3(net(), freeze_patch_embed=True)


def test_more_than_two_views_are_refused(method):
    with pytest.raises(RefusedRunError, match="compares two views, but the batch has 3"):
        method.training_loss({"views": views(3)})


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="moco_v3: temperature must be above 0"):
        MoCoV3(net(), temperature=0.0)


def test_evaluated_is_the_online_backbone(method):
    assert method.eval_backbone is method.backbone
