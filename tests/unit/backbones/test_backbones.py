"""The table of backbones, the builders and what they build."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
import typing

import pytest
import torch
from torch import nn

from sslight.backbones import BACKBONES, backbone, builder
from sslight.backbones.protocol import Backbone, as_backbone, embedding_width
from sslight.backbones.spec import spec_of

FAMILIES = ["resnet50", "vit_t_16", "convnext_tiny", "mobilenet_v3_small", "vgg11", "squeezenet1_0"]
FAMILIES += ["densenet121", "efficientnet_b0", "shufflenet_v2_x0_5", "mnasnet0_5", "googlenet"]


def test_the_table_imports_no_torch():
    code = "import sys, sslight.backbones as b; print(len(b.BACKBONES), 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == [str(len(BACKBONES)), "False"]


def test_every_name_has_an_explicit_signature():
    for name in BACKBONES:
        parameters = inspect.signature(builder(name)).parameters.values()
        assert parameters
        for p in parameters:
            assert p.kind is p.KEYWORD_ONLY, (name, p)
            assert not isinstance(p.annotation, str)
        assert "arch" not in typing.get_type_hints(builder(name))


def test_every_name_of_torchvisions_classifiers_is_there():
    from torchvision import models

    assert set(models.list_models(module=models)) <= set(BACKBONES)


@pytest.mark.parametrize("name", FAMILIES)
def test_embed_dim_is_the_width_of_the_output(name):
    with torch.device("meta"):
        model = backbone(name)
    size = 299 if name == "inception_v3" else 224
    assert embedding_width(model, size=size) == model.embed_dim
    assert isinstance(model, Backbone)


def test_known_widths():
    with torch.device("meta"):
        widths = {
            n: backbone(n).embed_dim for n in ["resnet18", "vit_b_16", "swin_t", "regnet_y_16gf"]
        }
    assert widths == {"resnet18": 512, "vit_b_16": 768, "swin_t": 768, "regnet_y_16gf": 3024}
    assert backbone("resnet10", width=16).embed_dim == 128


@pytest.mark.parametrize(
    ("stem", "side", "kernel"), [("imagenet", 8, 7), ("small", 32, 3), ("stride2", 16, 3)]
)
def test_stems_decide_the_size_of_the_first_map(stem, side, kernel):
    model = backbone("resnet10", stem=stem, width=8, in_channels=5)
    sizes = []
    model.layer1.register_forward_pre_hook(lambda m, x: sizes.append(x[0].shape))
    assert model(torch.zeros(2, 5, 32, 32)).shape == (2, 64)
    assert sizes[0] == (2, 8, side, side)
    assert model.conv1.kernel_size == (kernel, kernel)


def test_resnet_equals_torchvisions_without_the_classifier():
    from torchvision import models

    theirs = models.resnet18(num_classes=3).eval()
    ours = backbone("resnet18").eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    ours.load_state_dict(state)
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)


def test_zero_init_residual_makes_blocks_start_as_identity():
    model = backbone("resnet10", zero_init_residual=True)
    assert all(float(m.bn2.weight.detach().abs().sum()) == 0 for m in model.layer1)


def test_drop_path_is_linear_and_reaches_its_rate():
    from torchvision.ops import StochasticDepth

    with torch.device("meta"):
        model = backbone("convnext_tiny", drop_path=0.4)
    rates = [m.p for m in model.modules() if isinstance(m, StochasticDepth)]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.4)
    assert rates == sorted(rates)


def test_other_channels_keep_the_scale_of_the_first_layer():
    torch.manual_seed(0)
    model = backbone("convnext_tiny", in_channels=12)
    first = model.features[0][0]
    assert first.in_channels == 12
    assert float(first.weight.detach().std()) == pytest.approx(0.02 * (3 / 12) ** 0.5, rel=0.05)


def test_pixels_are_the_pixels():
    model = backbone("pixels", size=4)
    images = torch.randn(3, 3, 4, 4)
    assert model.embed_dim == 48
    torch.testing.assert_close(model(images), images.flatten(1))
    assert model(torch.randn(3, 3, 9, 7)).shape == (3, 48)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: backbone("resnet81"), ValueError, "Did you mean 'resnet18'"),
        (lambda: backbone("resnet18", stm="small"), TypeError, "Did you mean 'stem'"),
        (lambda: backbone("resnet18", stem="tiny"), ValueError, "imagenet, small, stride2"),
        (lambda: backbone("resnet18", extra={"group": 1}), TypeError, "Did you mean 'groups'"),
        (lambda: backbone("swin_t", extra={"foo": 1}), TypeError, "foo"),
        (lambda: backbone("resnet18", weights="V9"), ValueError, "IMAGENET1K_V1"),
        (lambda: backbone("resnet10", weights="DEFAULT"), ValueError, "torchvision has: none"),
    ],
)
def test_errors_say_what_to_write(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_offline_weights_say_so(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ConnectionError, match="give its path as `init`"):
        backbone("resnet18", weights="IMAGENET1K_V1")


def test_a_backbone_remembers_its_call_and_its_copy_too():
    model = backbone("resnet10", width=8)
    spec = spec_of(copy.deepcopy(model))
    assert (spec.name, spec.kwargs) == ("resnet10", {"width": 8})
    assert builder(spec.name)(**spec.kwargs).embed_dim == 64


def test_as_backbone_finds_the_width_and_touches_nothing():
    module = nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    before = copy.deepcopy(module.state_dict())
    rng = torch.get_rng_state()
    result = as_backbone(module)
    assert result is module
    assert module.embed_dim == 6
    assert module.training
    assert torch.equal(rng, torch.get_rng_state())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_as_backbone_pools_maps_and_takes_a_given_width():
    pooled = as_backbone(nn.Conv2d(3, 5, 3))
    assert pooled(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    assert pooled.embed_dim == 5
    assert as_backbone(nn.Linear(7, 9), embed_dim=9).embed_dim == 9


def test_as_backbone_runs_a_real_copy_where_values_are_needed():
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            if float(x.sum()) > 1e9:  # needs a value: fails on the meta device
                raise RuntimeError
            return self.linear(x.mean(dim=(2, 3)))

    module = Picky()
    assert as_backbone(module).embed_dim == 2
    assert module.calls == 0


def test_as_backbone_explains_what_it_cannot_use():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TypeError, match="returns tuple"):
        as_backbone(Pair())
    with pytest.raises(ValueError, match="embed_dim="):
        as_backbone(nn.Linear(7, 9))


def test_checkpointed_blocks_change_no_value_and_no_gradient():
    torch.manual_seed(0)
    plain = backbone("resnet18", width=8)
    torch.manual_seed(0)
    recomputed = backbone("resnet18", width=8, checkpoint_blocks=4)
    images = torch.randn(4, 3, 32, 32)
    for model in (plain, recomputed):
        model(images).square().sum().backward()
    assert list(plain.state_dict()) == list(recomputed.state_dict())
    for a, b in zip(plain.parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
