"""Every batched operation against torchvision's functional with the same parameters."""

import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from sslight.augment import Views, ViewSpec, color
from sslight.augment.blur import gaussian_blur, gaussian_kernels
from sslight.augment.jitter import jitter_, jitter_one_
from sslight.augment.params import COLUMNS, ORDERS, affected_rows, blends
from sslight.augment.photometric import (
    adjust_sharpness_,
    autocontrast_,
    photometric_,
    posterize_,
)

TOLERANCE = {"rtol": 0, "atol": 1e-5}
ADJUST = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


@pytest.fixture
def batch():
    """Natural range, saturated, grey, black, white, nearly grey and 8-bit pixels."""
    x = torch.rand(8, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    x[1] = (x[1] * 1.5 - 0.25).clamp(0, 1).round()
    x[2] = x[2, :1]
    x[3], x[4] = 0, 1
    x[5] = x[5, :1] + 1e-6 * x[5]
    x[6] = (x[6] * 255).round() / 255
    x[7, 1:] = x[7, 1:2]  # two equal channels: ties in the hue
    return x.clamp(0, 1)


def column(values):
    return torch.tensor(values).view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (color.adjust_brightness_, tv.adjust_brightness, [0, 0.2, 0.7, 1, 1.3, 1.8, 0.5, 1.1]),
        (color.adjust_contrast_, tv.adjust_contrast, [0, 0.2, 0.7, 1, 1.3, 1.8, 0.5, 1.1]),
        (color.adjust_saturation_, tv.adjust_saturation, [0, 0.2, 0.7, 1, 1.3, 1.8, 0.5, 1.1]),
        (color.adjust_hue_, tv.adjust_hue, [-0.5, 0.5, 0.2, -0.1, 0.03, -0.33, 0.41, 1 / 6]),
    ],
    ids=["brightness", "contrast", "saturation", "hue"],
)
def test_adjust(batch, ours, theirs, factors):
    expected = torch.stack([theirs(x, f) for x, f in zip(batch, factors, strict=True)])
    torch.testing.assert_close(ours(batch.clone(), column(factors)), expected, **TOLERANCE)
    for x, f, want in zip(batch, factors, expected, strict=True):
        torch.testing.assert_close(ours(x[None].clone(), float(f))[0], want, **TOLERANCE)


def test_hue_of_every_8_bit_corner():
    levels = torch.tensor([0, 1, 2, 63, 127, 128, 200, 254, 255]) / 255
    x = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 27, 27)
    for turns in (-0.5, -0.3, -1 / 6, 0.0, 0.1, 1 / 3, 0.5):
        ours = color.adjust_hue_(x.clone(), turns)
        torch.testing.assert_close(ours, tv.adjust_hue(x, turns), **TOLERANCE)


def test_grey_and_solarize(batch):
    expected = tv.rgb_to_grayscale(batch, 3)
    torch.testing.assert_close(color.to_grey_(batch.clone()), expected, **TOLERANCE)
    for threshold in (0.0, 0.5, 1.0):
        ours = color.solarize_(batch.clone(), threshold)
        torch.testing.assert_close(ours, tv.solarize(batch, threshold), **TOLERANCE)


def test_solarize_from_a_threshold_of_each_image(batch):
    thresholds = [0.0, 0.1, 0.4, 0.5, 1.0, 0.7, 0.9, 0.3]
    expected = torch.stack([tv.solarize(x, t) for x, t in zip(batch, thresholds, strict=True)])
    torch.testing.assert_close(color.solarize_(batch.clone(), column(thresholds)), expected)


@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (posterize_, lambda x, n: tv.posterize(x, n.bit_length() - 1), [16, 32, 64, 128, 256] * 2),
        (adjust_sharpness_, tv.adjust_sharpness, [0.0, 0.1, 0.5, 0.9, 1.0, 1.1, 1.5, 1.9]),
        (lambda x, _: autocontrast_(x), lambda x, _: tv.autocontrast(x), [0.0] * 8),
    ],
    ids=["posterize", "sharpness", "autocontrast"],
)
def test_photometric_operations(batch, ours, theirs, values):
    batch[0] = batch[0] * 0.5 + 0.2  # that there is something to stretch
    values = values[: len(batch)]
    expected = torch.stack([theirs(x, v) for x, v in zip(batch, values, strict=True)])
    torch.testing.assert_close(ours(batch.clone(), column(values)), expected, **TOLERANCE)
    for x, v, want in zip(batch, values, expected, strict=True):
        torch.testing.assert_close(ours(x[None].clone(), float(v))[0], want, **TOLERANCE)


def test_posterize_of_every_8_bit_value():
    """As PIL masks bits, but for the grid: levels of 1 / 2^bits in place of 2^(8 - bits) / 255."""
    values = torch.arange(256)
    for bits in range(4, 9):
        ours = posterize_((values / 255).view(1, 1, 16, 16), float(2**bits)).flatten()
        kept = values & (0xFF << (8 - bits))
        assert torch.equal((ours * 256).to(torch.int64), kept)


def test_sharpness_leaves_images_without_an_inside():
    x = torch.rand(2, 3, 2, 5)
    assert torch.equal(adjust_sharpness_(x.clone(), 0.1), x)


def posed(x, levels, sharpness, threshold):
    """The four operations on one image, one after the other, by torchvision."""
    x = tv.posterize(x, int(levels).bit_length() - 1)
    x = tv.adjust_sharpness(x, sharpness)
    return tv.autocontrast(tv.solarize(x, threshold) if threshold <= 1 else x)


def test_a_channel_of_one_value_keeps_it():
    x = torch.rand(256, 1, 1, 1).expand(-1, 3, 9, 9).contiguous()
    levels, factor = torch.full((256, 1, 1, 1), 128.0), torch.linspace(0.1, 1.9, 256)
    out = photometric_(x.clone(), levels, factor.view(-1, 1, 1, 1), 2.0)
    torch.testing.assert_close(out, posterize_(x, 128.0), **TOLERANCE)


def test_photometric_is_the_four_in_a_row(batch):
    batch[3:5] = batch[:2].flip(3)  # of flat images torchvision stretches the rounding
    drawn = [[16, 32, 64, 256, 128, 16, 64, 32], [0.1, 1.9, 1.0, 0.5, 1.3, 0.7, 1.6, 0.2]]
    drawn.append([n / 255 for n in (256, 200, 0, 30, 255, 128, 77, 180)])
    ours = photometric_(batch.clone(), *(column(values) for values in drawn))
    for x, one, levels, sharpness, threshold in zip(batch, ours, *drawn, strict=True):
        torch.testing.assert_close(one, posed(x, levels, sharpness, threshold), **TOLERANCE)


def test_normalise(batch):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ours = color.normalise_(batch.clone(), mean, std)
    torch.testing.assert_close(ours, tv.normalize(batch, list(mean), list(std)), **TOLERANCE)


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("kernel", [3, 9, 23])
def test_blur(size, kernel):
    x = torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 0.3, 0.8, 1.2, 1.9, 5.0])
    ours = gaussian_blur(x, sigma, kernel)
    for image, s, blurred in zip(x, sigma.tolist(), ours, strict=True):
        expected = tv.gaussian_blur(image, [kernel, kernel], [s, s])
        torch.testing.assert_close(blurred, expected, **TOLERANCE)


def test_kernels_sum_to_one():
    kernels = gaussian_kernels(torch.tensor([0.1, 1.0, 7.0]), 23)
    torch.testing.assert_close(kernels.sum(1), torch.ones(3))
    assert torch.equal(kernels, kernels.flip(1))


def test_jitter_in_every_order():
    assert set(ORDERS) == set(itertools.permutations(range(4)))
    n = len(ORDERS)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 3, 16, 16, generator=generator)
    table = torch.zeros(n, len(COLUMNS))
    start = COLUMNS.index("brightness")
    table[:, start : start + 3] = torch.rand(n, 3, generator=generator) * 1.6 + 0.2
    table[:, start + 3] = torch.rand(n, generator=generator) * 0.4 - 0.2
    table[:, COLUMNS.index("order")] = torch.arange(n)
    rows = affected_rows(table)
    hue_rows = [rows[f"hue{k}"] for k in range(4)]
    together = jitter_(x.clone(), blends(table), table[:, start + 3], hue_rows)
    different = 0
    for i, order in enumerate(ORDERS):
        factors = table[i, start : start + 4].tolist()
        expected = x[i]
        for operation in order:
            expected = ADJUST[operation](expected, factors[operation])
        torch.testing.assert_close(together[i], expected, **TOLERANCE)
        alone = jitter_one_(x[i : i + 1].clone(), factors, i)[0]
        torch.testing.assert_close(alone, expected, **TOLERANCE)
        different += not torch.allclose(together[i - 1], expected, atol=1e-2)
    assert different == n


def replay(image, spec, params, i):
    """One view of one image by torchvision, from the parameters that travel with it."""
    values = dict(zip(COLUMNS, params["table"][i].tolist(), strict=True))
    x = tv.resized_crop(image, *params["crop"][i].tolist(), [spec.size] * 2, antialias=True)
    x = tv.to_dtype(x, torch.float32, scale=True)
    x = tv.horizontal_flip(x) if values["flip"] else x
    x = tv.vertical_flip(x) if values["vertical_flip"] else x
    factors = [values[name] for name in ("brightness", "contrast", "saturation", "hue")]
    for operation in ORDERS[int(values["order"])]:
        x = ADJUST[operation](x, factors[operation])
    if values["levels"]:
        x = posed(x, values["levels"], values["sharpness"], values["threshold"])
    x = tv.rgb_to_grayscale(x, 3) if values["grey"] else x
    if values["sigma"]:
        x = tv.gaussian_blur(x, [spec.kernel] * 2, [values["sigma"]] * 2)
    x = tv.solarize(x, spec.solarize_threshold) if values["solarize"] else x
    return tv.normalize(x, list(spec.mean), list(spec.std))


@pytest.mark.parametrize(("side", "size"), [(32, 32), (120, 80), (170, 150)])
def test_whole_views(side, size):
    spec = ViewSpec(
        size,
        flip=0.5,
        vertical_flip=0.3,
        jitter=0.8,
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        grey=0.2,
        blur=0.5,
    )
    make = Views([spec], seed=1)
    generator = torch.Generator().manual_seed(0)
    shape = (24, 3, side, side + 8)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    fetched = make.fetch(images, 2, torch.arange(24))
    params = fetched["params"][0]
    views = make.apply(fetched)["views"][0]
    for i in range(24):
        expected = replay(images[i], spec, params, i)
        torch.testing.assert_close(views[i], expected, rtol=0, atol=5e-5)  # std magnifies by 4.5


@pytest.mark.parametrize(("side", "size"), [(32, 32), (120, 80), (170, 150)])
def test_whole_views_with_photometric_operations(side, size):
    """A pixel within rounding of a level or of the threshold may go either way: those are few."""
    spec = ViewSpec(
        size, flip=0.5, jitter=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2,
        photometric=0.66, grey=0.2, blur=0.2,
    )  # fmt: skip
    make = Views([spec], seed=1)
    generator = torch.Generator().manual_seed(0)
    shape = (24, 3, side, side + 8)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    fetched = make.fetch(images, 2, torch.arange(24))
    views = make.apply(fetched)["views"][0]
    expected = torch.stack([replay(images[i], spec, fetched["params"][0], i) for i in range(24)])
    apart = (views - expected).abs() > 5e-5
    assert apart.float().mean() < 0.02  # one that is a channel's brightest moves the whole channel
