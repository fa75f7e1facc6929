"""MAE's loss against loops, and decoder and loss against lightly's."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from sslight.losses.mae import mae_loss
from sslight.losses.patches import patchify
from sslight.modules.mae_decoder import MAEDecoder
from sslight.modules.masking import random_masking


def oracle(
    prediction: Tensor, images: Tensor, mask: Tensor, p: int, norm_pix: bool, ddof: int = 1
) -> Tensor:
    """Patch by patch, pixel by pixel: (row, column), then (y, x, channel)."""
    batch, channels, height, width = images.shape
    total, count = torch.zeros((), dtype=torch.float64), 0
    for b in range(batch):
        for row in range(height // p):
            for column in range(width // p):
                place = row * (width // p) + column
                if not mask[b, place]:
                    continue
                values = [
                    images[b, c, row * p + y, column * p + x]
                    for y in range(p)
                    for x in range(p)
                    for c in range(channels)
                ]
                if norm_pix:
                    mean = sum(values) / len(values)
                    variance = sum((v - mean) ** 2 for v in values) / (len(values) - ddof)
                    values = [(v - mean) / (variance + 1e-6) ** 0.5 for v in values]
                errors = [(a - v) ** 2 for a, v in zip(prediction[b, place], values, strict=True)]
                total, count = total + sum(errors) / len(errors), count + 1
    return total / count


def case(shape: tuple[int, ...], p: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    patches = (shape[2] // p) * (shape[3] // p)
    prediction = torch.randn(
        shape[0], patches, p * p * shape[1], generator=generator, dtype=torch.float64
    ).requires_grad_()
    mask = torch.rand(shape[0], patches, generator=generator) < 0.6
    return prediction, images, mask


@pytest.mark.parametrize("norm_pix", [True, False])
@pytest.mark.parametrize(("shape", "p"), [((3, 3, 8, 8), 4), ((2, 1, 4, 6), 2), ((1, 2, 9, 3), 3)])
def test_value_and_gradient(shape, p, norm_pix):
    prediction, images, mask = case(shape, p)
    ours = mae_loss(prediction, images, mask, p, norm_pix=norm_pix)
    expected = oracle(prediction, images, mask, p, norm_pix)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(loss, prediction)[0] for loss in (ours, expected)]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)
    assert not grads[0][~mask].any()


def test_a_biased_variance_would_be_noticed():
    prediction, images, mask = case((2, 1, 4, 4), 2)
    biased = oracle(prediction, images, mask, 2, True, ddof=0)
    assert abs(mae_loss(prediction, images, mask, 2) - biased) > 1e-3


def test_targets_are_lightlys():
    utils = pytest.importorskip("lightly.models.utils")
    prediction, images, mask = case((3, 3, 16, 16), 4)
    theirs = utils.patchify(images, 4)
    assert torch.equal(patchify(images, 4), theirs)
    # lightly's example takes nn.MSELoss over the hidden patches: the same where each image hides
    # the same number, as MAE does.
    target = utils.normalize_mean_var(theirs)
    expected = torch.nn.functional.mse_loss(prediction[mask], target[mask])
    torch.testing.assert_close(mae_loss(prediction, images, mask, 4), expected)


def test_decoder_is_lightlys():
    """With the same weights, from encoded tokens to pixels; class token in front."""
    modules = pytest.importorskip("lightly.models.modules")
    utils = pytest.importorskip("lightly.models.utils")
    torch.manual_seed(0)
    ours = MAEDecoder(24, 16, 2, 4, 48).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is going to be renamed
        theirs = modules.MAEDecoderTIMM(
            16, 4, embed_dim=24, decoder_embed_dim=16, decoder_depth=2, decoder_num_heads=4
        ).double()
    names = {"embed": "decoder_embed", "blocks": "decoder_blocks", "norm": "decoder_norm"}
    names |= {"head": "decoder_pred", "mask_token": "mask_token"}
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.2)
    state = {
        ".".join([names[key.split(".")[0]], *key.split(".")[1:]]): value
        for key, value in ours.state_dict().items()
    }
    missing = theirs.load_state_dict(state, strict=False).missing_keys
    assert missing == ["decoder_pos_embed"]
    theirs.eval()

    keep, _ = random_masking(torch.rand(3, 16), 0.75)
    tokens = torch.randn(3, 1 + 4, 24, dtype=torch.float64)
    with_class = torch.cat([torch.zeros(3, 1, dtype=torch.int64), keep + 1], dim=1)
    full = utils.repeat_token(theirs.mask_token, (3, 17))
    full = utils.set_at_index(full, with_class, theirs.embed(tokens))
    expected = theirs.predict(theirs.decode(full))[:, 1:]
    # Their table of positions is rounded to float32.
    torch.testing.assert_close(ours(tokens, keep, (4, 4)), expected, rtol=1e-5, atol=1e-6)
