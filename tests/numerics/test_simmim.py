"""SimMIM's loss against loops over pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslight.losses.patches import patchify
from sslight.losses.simmim import locally_normalised, simmim_loss


def oracle(reconstruction: Tensor, images: Tensor, mask: Tensor, p: int) -> Tensor:
    """Over the pixels of images ``[B, C, H, W]``, with the mask enlarged to pixels."""
    batch, channels, height, width = images.shape
    total, count = torch.zeros((), dtype=torch.float64), 0
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                if not mask[b, y // p * (width // p) + x // p]:
                    continue
                count += 1
                for c in range(channels):
                    total = total + (reconstruction[b, c, y, x] - images[b, c, y, x]).abs()
    return total / (count + 1e-5) / channels


@pytest.mark.parametrize(("shape", "p"), [((3, 3, 8, 8), 4), ((2, 1, 4, 6), 2), ((1, 2, 9, 3), 3)])
@pytest.mark.parametrize("share", [0.6, 0.0])
def test_value_and_gradient(shape, p, share):
    generator = torch.Generator().manual_seed(0)
    images, output = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    output.requires_grad_()
    patches = (shape[2] // p) * (shape[3] // p)
    mask = torch.rand(shape[0], patches, generator=generator) < share
    ours = simmim_loss(patchify(output, p), images, mask, p)
    expected = oracle(output, images, mask, p)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    if share:
        grads = [torch.autograd.grad(loss, output)[0] for loss in (ours, expected)]
        torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("window", [3, 5, 47])
def test_targets_normalised_by_the_pixels_around(window):
    images = torch.rand(2, 2, 6, 8, generator=torch.Generator().manual_seed(1)).double()
    reach, expected = window // 2, torch.empty_like(images)
    for y in range(6):
        for x in range(8):
            rows, columns = (
                slice(max(0, y - reach), y + reach + 1),
                slice(max(0, x - reach), x + reach + 1),
            )
            around = images[:, :, rows, columns].flatten(2)
            mean, variance = around.mean(2), around.var(2)
            expected[:, :, y, x] = (images[:, :, y, x] - mean) / (variance + 1e-6).sqrt()
    torch.testing.assert_close(locally_normalised(images, window), expected)
    single = locally_normalised(100 + images.float(), window).double()
    torch.testing.assert_close(single, expected, rtol=0, atol=2e-3)
    prediction, mask = torch.randn(2, 12, 8).double(), torch.rand(2, 12) < 0.6
    torch.testing.assert_close(
        simmim_loss(prediction, images, mask, 2, window=window),
        simmim_loss(prediction, expected, mask, 2),
    )


def test_a_plain_image_has_plain_targets():
    assert not locally_normalised(torch.full((1, 3, 8, 8), 0.3), 3).abs().max() > 1e-3


def test_peers_differ_by_the_epsilon_only():
    """lightly's example takes nn.L1Loss over the masked patches: no epsilon in the count."""
    torch.manual_seed(0)
    images, mask = torch.randn(2, 3, 8, 8).double(), torch.rand(2, 4) < 0.5
    prediction = torch.randn(2, 4, 48).double()
    plain = torch.nn.functional.l1_loss(prediction[mask], patchify(images, 4)[mask])
    pixels = int(mask.sum()) * 16
    ours = simmim_loss(prediction, images, mask, 4)
    torch.testing.assert_close(ours, plain * pixels / (pixels + 1e-5))
    assert ours != plain
