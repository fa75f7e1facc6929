from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny
import torch

from sslight.losses.simmim import simmim_loss
from sslight.methods.simmim import SimMIM


@pytest.fixture(autouse=True)
def epoch(monkeypatch):
    monkeypatch.setattr(SimMIM, "clock", property(lambda self: SimpleNamespace(epoch=0)))


def method(**options) -> SimMIM:
    torch.manual_seed(0)
    return SimMIM(tiny.vit(), **options)


def batch(views: int = 1, size: int = 16) -> dict:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(4, 3, size, size, generator=generator) for _ in range(views)]
    return {"views": images, "index": torch.tensor([4, 0, 9, 2])}


def mask_of(simmim: SimMIM, data: dict) -> torch.Tensor:
    images = torch.cat(data["views"])
    return simmim._mask(images, data["index"], len(data["views"]))


def test_loss_is_the_error_of_the_masked_patches():
    simmim, data = method(), batch()
    mask = mask_of(simmim, data)
    tokens = simmim.backbone.tokens(data["views"][0], mask)
    output = simmim.training_loss(data)
    expected = simmim_loss(simmim.head(tokens[:, 1:]), data["views"][0], mask, 4)
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.embedding, tokens[:, 0])


def test_masks_are_whole_squares_of_the_published_share():
    mask = mask_of(method(), batch()).view(4, 2, 2, 2, 2)  # squares of 8 pixels, patches of 4
    assert bool((mask == mask[:, :, :1, :, :1]).all())
    assert mask[:, :, 0, :, 0].sum((1, 2)).tolist() == [3] * 4  # 0.6 of 4, rounded up
    assert mask_of(method(mask_unit=4), batch()).sum(1).tolist() == [10] * 4


def test_masked_pixels_do_not_reach_the_embedding():
    simmim, data = method(), batch()
    hidden = mask_of(simmim, data).view(4, 1, 4, 4).float()
    hidden = hidden.repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = {**data, "views": [data["views"][0] + 3 * hidden]}
    before, after = simmim.training_loss(data), simmim.training_loss(changed)
    torch.testing.assert_close(before.embedding, after.embedding)
    assert not torch.allclose(before.loss, after.loss)


def test_views_are_masked_differently():
    simmim, data = method(mask_unit=4), batch(2)
    mask = mask_of(simmim, data)
    assert not torch.equal(mask[:4], mask[4:])
    assert simmim.training_loss(data).embedding.shape == (8, 32)


def test_the_backbone_gets_its_mask_token():
    simmim = method()
    assert "backbone.mask_token" in simmim.state_dict()
    simmim.training_loss(batch()).loss.backward()
    assert bool(simmim.backbone.mask_token.grad.any())


def test_positions_may_be_fixed():
    assert method().backbone.pos_embed.requires_grad
    assert not method(fixed_positions=True).backbone.pos_embed.requires_grad


def test_errors():
    with pytest.raises(ValueError, match="mask_ratio is 0"):
        method(mask_ratio=0)
    with pytest.raises(ValueError, match=r"mask_unit is 6 pixels.*patch size 4"):
        method(mask_unit=6)
    with pytest.raises(ValueError, match="norm_window is 4; it is odd"):
        method(norm_window=4)
    with pytest.raises(ValueError, match="20 x 20 pixels cannot be cut into squares of 8"):
        method().training_loss(batch(size=20))
