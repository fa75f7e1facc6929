"""Label smoothing, mixup and CutMix against loops written from the papers, to the gradient."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.augment.draws import seed_of, uniforms
from sslight.losses.classification import cross_entropy, multilabel_bce
from sslight.methods.supervised import Supervised
from sslight.modules import mix
from sslight.modules.mix import Mix, beta

Images = list[list[list[list[float]]]]


@pytest.fixture(autouse=True)
def _first_epoch(monkeypatch):
    monkeypatch.setattr(Supervised, "clock", property(lambda self: SimpleNamespace(epoch=2)))


def smoothed(label: int, classes: int, epsilon: float) -> list[float]:
    """q'(k) = (1 - e) q(k) + e / K (Szegedy et al., 2016, arXiv:1512.00567, section 7)."""
    return [(1 - epsilon) * (k == label) + epsilon / classes for k in range(classes)]


def entropy(logits: torch.Tensor, target: list[float]) -> torch.Tensor:
    total = logits.exp().sum()
    return -sum(q * torch.log(x.exp() / total) for q, x in zip(target, logits, strict=True))


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("labels", [[0, 2, 1], [3, -1, -1, 0, 2]])
def test_label_smoothing(epsilon, labels):
    generator = torch.Generator().manual_seed(len(labels))
    logits = torch.randn(len(labels), 4, generator=generator, dtype=torch.float64).requires_grad_()
    loss = cross_entropy(logits, torch.tensor(labels), label_smoothing=epsilon)
    known = [
        entropy(row, smoothed(y, 4, epsilon))
        for row, y in zip(logits, labels, strict=True)
        if y >= 0
    ]
    assert_equal(loss, torch.stack(known).mean(), [logits])


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_multi_label(epsilon):
    labels = [[1, 0, -1], [-1, -1, 1]]
    logits = torch.randn(2, 3, dtype=torch.float64).requires_grad_()
    loss = multilabel_bce(logits, torch.tensor(labels), label_smoothing=epsilon)
    terms = []
    for row, wanted in zip(logits, labels, strict=True):
        for x, y in zip(row, wanted, strict=True):
            if y >= 0:
                p, t = 1 / (1 + (-x).exp()), (1 - epsilon) * y + epsilon / 2
                terms.append(-t * torch.log(p) - (1 - t) * torch.log(1 - p))
    assert_equal(loss, torch.stack(terms).mean(), [logits])


def assert_equal(
    loss: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor], atol: float = 1e-9
) -> None:
    assert loss.item() == pytest.approx(expected.item(), rel=1e-7)
    mine, theirs = (torch.autograd.grad(value, inputs) for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=atol)


def blended(own: Images, other: Images, share: float) -> tuple[Images, float]:
    """Zhang et al. (2018, arXiv:1710.09412), eq. 1: share x_i + (1 - share) x_j."""
    pairs = zip(own, other, strict=True)
    return [
        [
            [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]
            for p, q in zip(x, y, strict=True)
        ]
        for x, y in pairs
    ], share


def pasted(own: Images, other: Images, share: float, u: list[float]) -> tuple[Images, float]:
    """Yun et al. (2019, arXiv:1905.04899), eq. 2: a box of sqrt(1 - share) of both sides."""
    height, width = len(own[0]), len(own[0][0])
    cut_h, cut_w = (math.floor(side * math.sqrt(1 - share)) for side in (height, width))
    top = math.floor(u[1] * height) - cut_h // 2
    left = math.floor(u[0] * width) - cut_w // 2
    out = [[list(row) for row in plane] for plane in own]
    inside = 0
    for y in range(max(top, 0), min(top + cut_h, height)):
        for x in range(max(left, 0), min(left + cut_w, width)):
            inside += 1
            for channel in range(len(own)):
                out[channel][y][x] = other[channel][y][x]
    return out, 1 - inside / (height * width)


def mixed_by_loops(images: torch.Tensor, index: torch.Tensor, options: dict) -> list:
    """Mixed image, share and partner of each row; rows 2k and 2k + 1 are partners."""
    alphas = {"mixup": options.get("mixup", 0), "cutmix": options.get("cutmix", 0)}
    both = all(alphas.values())
    x, results = images.tolist(), []
    for i, u in enumerate(uniforms(seed_of(5, mix._STREAM), 2, index, 0, 5).tolist()):
        partner = min(i ^ 1, len(x) - 1)
        if u[0] >= options.get("mix_prob", 1.0) or partner == i:
            results.append((x[i], 1.0, i))
            continue
        cut = u[1] < 0.5 if both else bool(alphas["cutmix"])
        alpha = alphas["cutmix" if cut else "mixup"]
        share = beta(torch.tensor([u[2]], dtype=torch.float64), alpha).item()
        image, share = (
            pasted(x[i], x[partner], share, u[3:]) if cut else blended(x[i], x[partner], share)
        )
        results.append((image, share, partner))
    return results


@pytest.mark.parametrize("size", [(6, 6), (7, 9)])
@pytest.mark.parametrize(
    "options",
    [
        {"mixup": 0.2},
        {"cutmix": 1.0},
        {"mixup": 0.8, "cutmix": 1.0, "mix_prob": 0.7},
    ],
)
def test_mixing_and_its_loss(options, size):
    """Pixels, soft targets, and the loss with label smoothing, an unknown label among them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(9, 2, *size, generator=generator, dtype=torch.float64)
    labels = [0, 2, 1, -1, 2, 2, 0, 1, 0]
    index = torch.arange(9) * 7
    expected = mixed_by_loops(images, index, options)
    assert len({share for _, share, _ in expected}) > 3

    torch.manual_seed(0)
    parts = [nn.Conv2d(2, 4, 2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    method = Supervised(nn.Sequential(*parts), num_classes=3, label_smoothing=0.1, **options)
    method = method.double()
    method.seed = 5
    out = Mix(options.get("mixup", 0), options.get("cutmix", 0), options.get("mix_prob", 1.0))(
        images, index, seed=5, epoch=2
    )
    for i, (image, share, partner) in enumerate(expected):
        torch.testing.assert_close(
            out.images[i], torch.tensor(image, dtype=torch.float64), rtol=1e-6, atol=1e-7
        )
        assert out.share[i].item() == pytest.approx(share, abs=1e-6)
        if share < 1:
            assert out.partner[i] == partner

    known = []
    for own, (image, share, partner) in zip(labels, expected, strict=True):
        if own < 0 or (share < 1 and labels[partner] < 0):
            continue
        logits = method.predict(torch.tensor(image, dtype=torch.float64)[None])[0]
        one, two = (smoothed(y, 3, 0.1) for y in (own, labels[partner]))
        target = [share * a + (1 - share) * b for a, b in zip(one, two, strict=True)]
        known.append(entropy(logits, target))
    loss = method.training_loss({"views": [images], "label": torch.tensor(labels), "index": index})
    # Shares are float32 numbers, equal to 1e-7.
    assert_equal(loss.loss, torch.stack(known).mean(), list(method.parameters()), atol=1e-7)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.8, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha):
    stats = pytest.importorskip("scipy.stats")
    u = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    expected = torch.from_numpy(stats.beta(alpha, alpha).ppf(u.numpy()))
    torch.testing.assert_close(beta(u, alpha), expected, rtol=0, atol=1e-5)
