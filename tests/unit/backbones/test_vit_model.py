"""The vision transformer: equal to timm's, and what timm's does not do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sslight.backbones.vit_model import VisionTransformer
from sslight.modules.positions import sincos_positions


def small(**options) -> VisionTransformer:
    torch.manual_seed(0)
    sizes = {"image_size": 16, "patch_size": 4, "width": 32, "depth": 3, "heads": 2}
    return VisionTransformer(**{**sizes, **options}).eval()


def images(count: int = 2, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def randomize(model: nn.Module) -> None:
    """Draw every weight anew, so that no zero or one hides a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1)


# ------------------------------------------------------------------ timm

VIT_S = {"width": 384, "depth": 12, "heads": 6}
PEERS = {
    "vit_tiny_patch16_224": ({"patch_size": 16, "width": 192, "depth": 12, "heads": 3}, {}),
    "vit_small_patch14_dinov2": ({"patch_size": 14, "layer_scale": 1e-5, **VIT_S}, {}),
    "vit_small_patch14_reg4_dinov2": (
        {"patch_size": 14, "layer_scale": 1e-5, "registers": 4, **VIT_S},
        {},
    ),
    "vit_small_patch16_224": (
        {"patch_size": 16, "class_token": False, "pooling": "avg", **VIT_S},
        {"class_token": False, "global_pool": "avg", "fc_norm": False},
    ),
    "vit_giant_patch14_dinov2": (
        {"patch_size": 14, "layer_scale": 1e-5, "mlp": "swiglu", "width": 1536, "heads": 24}
        | {"depth": 1},
        {"depth": 1},
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_weights_go_both_ways_and_tokens_are_timms(name: str):
    timm = pytest.importorskip("timm")
    ours_options, theirs_options = PEERS[name]
    size = 4 * ours_options["patch_size"]
    theirs = timm.create_model(name, num_classes=0, img_size=size, **theirs_options).eval()
    randomize(theirs)
    ours = VisionTransformer(image_size=size, **ours_options).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = images(2, size)
    with torch.no_grad():
        torch.testing.assert_close(ours.tokens(x), theirs.forward_features(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    randomize(ours)
    theirs.load_state_dict(ours.state_dict(), strict=True)


@pytest.mark.parametrize(("kind", "theirs_kind"), [
    ("attention_drop", "attn_drop_rate"), ("dropout", "proj_drop_rate"),
])  # fmt: skip
def test_a_training_network_drops_what_timms_drops(kind: str, theirs_kind: str):
    timm = pytest.importorskip("timm")
    shape = {"num_classes": 0, "img_size": 32, "depth": 2}
    theirs = timm.create_model("vit_tiny_patch16_224", **shape, **{theirs_kind: 0.3}).train()
    ours = VisionTransformer(
        image_size=32, patch_size=16, width=192, depth=2, heads=3, **{kind: 0.3}
    ).train()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    outputs = []
    for network in (ours, theirs):
        torch.manual_seed(3)
        outputs.append(network(images(2, 32)))
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(ours.eval()(images(2, 32)), outputs[0], atol=1e-3)


def test_another_norm_epsilon_would_be_noticed():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=2).eval()
    ours = VisionTransformer(image_size=32, patch_size=16, width=192, depth=2, heads=3).eval()
    ours.load_state_dict(theirs.state_dict())
    x = 0.01 * images(2, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.tokens(x), theirs.forward_features(x), rtol=0, atol=1e-5)
        ours.blocks[0].norm1.eps = 1e-5
        assert (ours.tokens(x) - theirs.forward_features(x)).abs().max() > 1e-5


def test_other_sizes_are_timms_without_antialiasing(monkeypatch):
    vision = pytest.importorskip("timm.models.vision_transformer")
    resample = vision.resample_abs_pos_embed
    monkeypatch.setattr(
        vision, "resample_abs_pos_embed", lambda *a, **k: resample(*a, **k, antialias=False)
    )
    theirs = vision.VisionTransformer(
        16, 4, num_classes=0, embed_dim=32, depth=3, num_heads=2, dynamic_img_size=True
    ).eval()
    ours = small()
    ours.load_state_dict(theirs.state_dict())
    for height, width in [(8, 8), (24, 12)]:
        x = torch.randn(2, 3, height, width)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------ tokens


@pytest.mark.parametrize(
    ("options", "prefix"),
    [({}, 1), ({"registers": 3}, 4), ({"class_token": False, "pooling": "avg"}, 0)],
)
def test_prefix_tokens_come_first(options, prefix):
    model = small(**options)
    tokens = model.tokens(images())
    assert model.n_prefix == prefix
    assert tokens.shape == (2, prefix + 16, 32)
    assert model.grid(images()) == (4, 4)
    expected = tokens[:, prefix:].mean(1) if options.get("pooling") == "avg" else tokens[:, 0]
    torch.testing.assert_close(model(images()), expected)


def test_a_mask_hides_pixels_but_not_the_place():
    model = small(mask_token=True)
    x, mask = images(), torch.zeros(2, 16, dtype=torch.bool)
    whole = model.tokens(x)
    torch.testing.assert_close(model.tokens(x, mask), whole)
    mask[0, 3], mask[1, 7] = True, True
    changed = x.clone()
    changed[0, :, 0:4, 12:16] += 5
    changed[1, :, 4:8, 12:16] += 5
    torch.testing.assert_close(model.tokens(x, mask), model.tokens(changed, mask))
    everything = model.tokens(x, torch.ones_like(mask))
    torch.testing.assert_close(everything[0], everything[1])
    assert not torch.allclose(everything[0, 1], everything[0, 2]), "places are still told apart"


@pytest.mark.parametrize("registers", [0, 2])
def test_kept_patches_are_the_only_ones_seen(registers):
    model, x = small(registers=registers), images()
    order = torch.randperm(16).expand(2, -1)
    whole, n = model.tokens(x), model.n_prefix
    shuffled = model.tokens(x, keep=order)
    torch.testing.assert_close(shuffled[:, :n], whole[:, :n])
    torch.testing.assert_close(shuffled[:, n:], whole[:, n:][:, order[0]])
    keep = torch.tensor([[0, 5, 2], [15, 1, 9]])
    tokens = model.tokens(x, keep=keep)
    assert tokens.shape == (2, n + 3, 32)
    changed = x.clone()
    changed[0, :, 12:, :] += 5  # patches 12 to 15
    changed[1, :, 12:, :12] += 5  # patches 12 to 14
    torch.testing.assert_close(model.tokens(changed, keep=keep), tokens)


def test_block_outputs_end_in_what_the_norm_sees():
    model = small(mask_token=True)
    x, mask = images(), torch.rand(2, 16) < 0.5
    outputs = model.block_outputs(x, 3, mask)
    assert [o.shape for o in outputs] == [(2, 17, 32)] * 3
    torch.testing.assert_close(model.norm(outputs[-1]), model.tokens(x, mask))
    torch.testing.assert_close(model.blocks[2](outputs[1]), outputs[2])
    assert len(model.block_outputs(x, 1)) == 1


def test_a_copy_and_a_smaller_image_leave_no_trace():
    model = small()
    before = copy.deepcopy(model.state_dict())
    model(images(2, 8))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_it_works_in_float64_and_bfloat16():
    model, x = small(), images(2, 8)
    exact = copy.deepcopy(model).double()(x.double())
    torch.testing.assert_close(model(x).double(), exact, rtol=1e-5, atol=1e-5)
    low = copy.deepcopy(model).bfloat16()(x.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), exact, rtol=0.1, atol=0.1)


def test_every_parameter_gets_a_gradient():
    model = small(registers=1, layer_scale=0.1, mask_token=True).train()
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[:, 0] = True
    model.tokens(images(), mask).square().mul(torch.rand(32)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


# ------------------------------------------------------------------ weights


def test_fixed_positions_are_sines_and_cosines_without_gradient():
    model = small()
    model.fix_positions()
    assert not model.pos_embed.requires_grad
    assert not model.pos_embed[0, 0].any()
    torch.testing.assert_close(model.pos_embed[0, 1:], sincos_positions(4, 4, 32).float())
    small(class_token=False, pooling="avg").fix_positions()


def test_initial_weights():
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=64, patch_size=4, width=128, depth=2, heads=2, layer_scale=1e-5
    )
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif name.endswith("gamma"):
            assert bool((parameter == 1e-5).all()), name
        elif "norm" in name:
            assert bool((parameter == 1).all()), name
        else:
            wanted = (3 * 48) ** -0.5 if "patch_embed" in name else 0.02
            assert float(parameter.detach().std()) == pytest.approx(wanted, rel=0.2), name


def test_xavier_is_of_linear_layers_and_patches_and_not_of_tokens():
    torch.manual_seed(0)
    options = {"image_size": 64, "patch_size": 4, "width": 128, "depth": 2, "heads": 2}
    model = VisionTransformer(**options, registers=2, init="xavier")
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert bool((parameter == 1).all()), name
        else:
            matrix = parameter.detach().flatten(1)  # a patch is a row of 3 * 4 * 4 pixels
            linear = name.endswith("weight")
            wanted = (2 / sum(matrix.shape)) ** 0.5 if linear else 0.02
            assert float(matrix.std()) == pytest.approx(wanted, rel=0.2), name
            if linear:
                assert float(matrix.abs().max()) == pytest.approx(3**0.5 * wanted, rel=0.01), name


def test_drop_path_is_linear_over_the_blocks():
    model = small(drop_path=0.2)
    assert [b.drop_path1.rate for b in model.blocks] == pytest.approx([0, 0.1, 0.2])
    assert [b.drop_path2.rate for b in model.blocks] == pytest.approx([0, 0.1, 0.2])
    x = images()
    torch.testing.assert_close(model(x), small()(x))  # in eval mode
    model.train()
    assert not torch.allclose(model(x), model(x))


def test_drop_path_can_be_the_same_for_all_blocks():
    model = small(drop_path=0.2, drop_path_uniform=True)
    assert [(b.drop_path1.rate, b.drop_path2.rate) for b in model.blocks] == [(0.2, 0.2)] * 3


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m(torch.zeros(1, 3, 18, 16)), "18 x 16 pixels.*multiples of 4"),
        (lambda m: m.tokens(images(), torch.zeros(2, 16)), "mask_token=True"),
        (lambda m: m.tokens(images(), keep=torch.zeros(1, 2, dtype=torch.int64)), "of 2 images"),
        (lambda m: m.tokens(images(), keep=torch.zeros(2, 2)), "must be int64"),
        (lambda m: m.block_outputs(images(), 4), "3 blocks, so give 1 to 3"),
        (lambda m: small(class_token=False), "use pooling: avg"),
        (lambda m: small(heads=5), "32 is not a multiple of 5 heads"),
        (lambda m: small(drop_path=1.0), "probability"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call(small())
