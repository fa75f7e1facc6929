"""Colorization against loops written from the paper, and Lab against scikit-image's formula."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslight.losses.colorization import colorization_loss
from sslight.methods.colorization import Colorization
from sslight.modules.color_bins import ColorBins
from sslight.modules.lab import rgb_to_lab

MATRIX = [
    [0.412453, 0.357580, 0.180423],
    [0.212671, 0.715160, 0.072169],
    [0.019334, 0.119193, 0.950227],
]
WHITE = [0.95047, 1.0, 1.08883]


def lab_of(rgb: list[float]) -> list[float]:
    """skimage.color.rgb2lab, one colour."""
    linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in rgb]
    f = []
    for row, white in zip(MATRIX, WHITE, strict=True):
        t = sum(m * c for m, c in zip(row, linear, strict=True)) / white
        f.append(t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116)
    return [116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]


def test_lab_is_scikit_images():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    images[0] *= 0.06  # around both thresholds
    out = rgb_to_lab(images)
    for b in range(2):
        for y in range(5):
            for x in range(4):
                expected = lab_of(images[b, :, y, x].tolist())
                assert out[b, :, y, x].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    torch.testing.assert_close(rgb_to_lab(images.float()).double(), out, rtol=1e-4, atol=1e-4)


def encode(bins: list[list[float]], colour: list[float], k: int, sigma: float) -> list[float]:
    """Section 2.1, soft-encoding: a probability of every bin, 0 for all but the k nearest."""
    squares = [sum((x - y) ** 2 for x, y in zip(b, colour, strict=True)) for b in bins]
    order = sorted(range(len(bins)), key=squares.__getitem__)[:k]
    mass = {q: math.exp(-squares[q] / (2 * sigma**2)) for q in order}
    return [mass.get(q, 0.0) / sum(mass.values()) for q in range(len(bins))]


def weights(bins: list[list[float]], counts: list[int], lam: float, sigma: float) -> list[float]:
    """Equation 4; the prior is smoothed by a Gaussian, each bin's mass kept."""
    n = len(bins)
    prior = [0.0] * n
    for q in range(n):
        kernel = [
            math.exp(-sum((x - y) ** 2 for x, y in zip(bins[q], b, strict=True)) / (2 * sigma**2))
            for b in bins
        ]
        for other in range(n):
            prior[other] += counts[q] / sum(counts) * kernel[other] / sum(kernel)
    raw = [1 / ((1 - lam) * p + lam / n) for p in prior]
    mean = sum(p * w for p, w in zip(prior, raw, strict=True))
    return [w / mean for w in raw]


@pytest.mark.parametrize(
    ("step", "neighbours", "sigma", "lam"), [(40, 3, 20, 0.3), (30, 5, 5, 0.5)]
)
def test_encoding_and_weights_equal_the_loops(step, neighbours, sigma, lam):
    module = ColorBins(step).double()
    bins = module.bins.tolist()
    generator = torch.Generator().manual_seed(step)
    ab = 60 * torch.randn(7, 2, generator=generator, dtype=torch.float64)
    encoded = module.encode(ab, neighbours, sigma)
    dense = torch.zeros(7, len(bins), dtype=torch.float64)
    dense.scatter_(1, encoded.bin, encoded.share)
    expected = [encode(bins, colour, neighbours, sigma) for colour in ab.tolist()]
    torch.testing.assert_close(dense, torch.tensor(expected, dtype=torch.float64))

    index = torch.randint(len(bins), (50,), generator=generator)
    module.count(index[:20])
    module.count(index[20:])
    counts = [sum(int(i) == q for i in index) for q in range(len(bins))]
    assert module.counts.tolist() == counts
    mine = module.weights(lam, sigma)
    expected = torch.tensor(weights(bins, counts, lam, sigma), dtype=torch.float64)
    torch.testing.assert_close(mine, expected)


def build(**options) -> Colorization:
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    method = Colorization(nn.Sequential(*parts), decoder_dim=6, **options)
    method.bins = ColorBins(40)
    method.head[-1] = nn.Conv2d(6, len(method.bins), 1)
    return method.double()


def oracle(method: Colorization, images: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Equations 2 and 3 a pixel at a time, targets from mean colours of stride x stride squares."""
    s, bins = method.stride, method.bins.bins.tolist()
    planes = torch.tensor(
        [[[lab_of(pixel)[0] for pixel in row] for row in image] for image in
         images.permute(0, 2, 3, 1).tolist()], dtype=torch.float64)  # fmt: skip
    seen = ((planes - 50) / 100)[:, None].repeat(1, 3, 1, 1)
    maps = torch.tanh(F.conv2d(seen, method.backbone[0].weight, method.backbone[0].bias, stride=2))
    height, width = images.shape[2] // s, images.shape[3] // s
    scores = F.interpolate(method.head(maps), (height, width), mode="bilinear")
    w = weights(bins, counts, method.uniform, method.sigma) if any(counts) else [1.0] * len(bins)
    terms = []
    for image, score in zip(images, scores, strict=True):
        for y in range(height):
            for x in range(width):
                square = image[:, s * y : s * y + s, s * x : s * x + s].flatten(1).T.tolist()
                colours = [lab_of(pixel)[1:] for pixel in square]
                ab = [sum(c[i] for c in colours) / len(colours) for i in range(2)]
                z = encode(bins, ab, method.neighbours, method.sigma)
                q = z.index(max(z))
                counts[q] += 1
                log_p = score[:, y, x].log_softmax(0)
                terms.append(-w[q] * sum(z[i] * log_p[i] for i in range(len(z))))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("options", [{"stride": 2}, {"stride": 3, "neighbours": 2, "sigma": 25.0,
                                                     "uniform": 0.2}])  # fmt: skip
def test_three_steps_equal_the_loops(options):
    """Value, gradient, and the counts that weigh the next step."""
    method = build(**options)
    counts = [0] * len(method.bins)
    generator = torch.Generator().manual_seed(3)
    parameters = [p for p in method.parameters() if p.requires_grad]
    for _ in range(3):
        images = torch.rand(2, 3, 9, 9, generator=generator, dtype=torch.float64)
        loss = method.training_loss({"views": [images]}).loss
        expected = oracle(method, images, counts)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
        mine, theirs = (torch.autograd.grad(value, parameters) for value in (loss, expected))
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)
        assert method.bins.counts.tolist() == counts


def test_weights_that_count_the_batch_first_would_be_noticed():
    method = build(stride=3)
    images = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    first = method.training_loss({"views": [images]}).loss
    assert first != method.training_loss({"views": [images]}).loss


def test_float32_survives_large_scores():
    logits = torch.tensor([[1e4, 0.0, -1e4]]).requires_grad_()
    index, share = torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]])
    loss = colorization_loss(logits, index, share, torch.ones(1))
    assert loss.item() == pytest.approx(5e3)
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()
