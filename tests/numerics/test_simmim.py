"""SimMIM's loss against loops over pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslight.losses.patches import patchify
from sslight.losses.simmim import simmim_loss


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
