from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.backbones import backbone, builder
from sslight.backbones.masking import (
    apply_mask,
    ensure_mask_token,
    fix_positions,
    keep_patches,
)
from sslight.backbones.spec import spec_of
from sslight.errors import RefusedRunError

TINY = {"image_size": 8, "patch_size": 4, "width": 16, "heads": 2, "depth": 1}


def test_a_method_gives_its_backbone_the_token_once():
    model = backbone("vit_t_16", **TINY)
    assert "mask_token" not in model.state_dict()
    ensure_mask_token(model)
    token = model.mask_token
    assert token.shape == (1, 1, 16)
    assert token.requires_grad
    ensure_mask_token(model)
    assert model.mask_token is token
    spec = spec_of(model)
    builder(spec.name)(**spec.kwargs).load_state_dict(model.state_dict(), strict=True)


def test_it_has_the_kind_of_the_other_weights_and_serves_any_module():
    net = nn.Linear(3, 5).double()
    net.embed_dim = 5
    ensure_mask_token(net)
    assert net.mask_token.dtype == torch.float64


def test_masked_and_kept_patches():
    patches = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[True, False, False], [False, False, True]])
    token = torch.full((1, 1, 2), -1.0)
    masked = apply_mask(patches, mask, token)
    assert masked[0].tolist() == [[-1, -1], [2, 3], [4, 5]]
    assert masked[1].tolist() == [[6, 7], [8, 9], [-1, -1]]
    assert apply_mask(patches, None, None) is patches
    kept = keep_patches(patches, torch.tensor([[2, 0], [1, 1]]))
    assert kept.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]
    assert keep_patches(patches, None) is patches


def test_errors():
    patches = torch.zeros(2, 3, 2)
    with pytest.raises(ValueError, match="ensure_mask_token"):
        apply_mask(patches, torch.zeros(2, 3), None)
    with pytest.raises(ValueError, match="3 patches in each of 2 images"):
        apply_mask(patches, torch.zeros(2, 4), torch.zeros(1, 1, 2))


def test_fixed_positions_do_not_learn():
    model = backbone("vit_t_16", **TINY)
    fix_positions(model)
    assert not model.pos_embed.requires_grad
    assert model.pos_embed[0, 1, :4].tolist() == [0] * 4  # sines of column 0
    with pytest.raises(
        RefusedRunError, match=r"Linear has no fix_positions.*fixed_positions: false"
    ):
        fix_positions(nn.Linear(1, 1))
