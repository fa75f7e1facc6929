"""Gaussian blur of a float batch, one standard deviation per image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

#: From this size on an image is blurred by shifted sums on a CPU: a grouped convolution is slower.
_LARGE = 64


def gaussian_blur(x: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Blur with a separable Gaussian, borders reflected; equals torchvision's ``gaussian_blur``.

    On a CPU, images from 64 pixels on leave out kernel weights further than 5 sigma from the
    centre (below 4e-6 of the central one).

    Args:
        x: ``[n, C, h, w]`` float.
        sigma: Standard deviations ``[n]`` in pixels, above 0.
        kernel: Odd width of the kernel.

    Returns:
        The blurred images, a new tensor.
    """
    if x.device.type == "cpu" and x.shape[-1] >= _LARGE:
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        for image, target, s in zip(x, out, sigma.tolist(), strict=True):
            _blur_image(image, target, s, kernel // 2)
        return out
    return _blur_grouped(x, gaussian_kernels(sigma, kernel))


def gaussian_kernels(sigma: Tensor, kernel: int) -> Tensor:
    """Return the kernels ``[n, kernel]``, each with sum 1."""
    offset = torch.arange(kernel, device=sigma.device, dtype=sigma.dtype) - kernel // 2
    weights = torch.exp(-0.5 * (offset / sigma.unsqueeze(1)) ** 2)
    return weights / weights.sum(1, keepdim=True)


def _blur_grouped(x: Tensor, kernels: Tensor) -> Tensor:
    """Blur all planes by two convolutions with one group per plane."""
    n, channels, height, width = x.shape
    k = kernels.shape[1]
    planes = pad(x, (k // 2,) * 4, mode="reflect").flatten(0, 1).unsqueeze(0)
    weights = kernels.to(x.dtype).repeat_interleave(channels, 0)
    planes = conv2d(planes, weights.view(-1, 1, 1, k), groups=n * channels)
    planes = conv2d(planes, weights.view(-1, 1, k, 1), groups=n * channels)
    return planes.view(n, channels, height, width)


def _blur_image(image: Tensor, out: Tensor, sigma: float, radius: int) -> None:
    """Blur ``[C, h, w]`` into ``out`` by weighted sums of shifted images."""
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    reach = min(radius, math.ceil(5 * sigma))
    weights = [w / total for w in weights[: reach + 1]]
    across, buffer = torch.empty_like(out), torch.empty_like(out)
    _blur_lines(image, across, buffer, weights, dim=2)
    _blur_lines(across, out, buffer, weights, dim=1)


def _blur_lines(image: Tensor, out: Tensor, buffer: Tensor, weights: list[float], dim: int) -> None:
    """Blur along one dimension, using that the kernel is symmetric."""
    reach, size = len(weights) - 1, image.shape[dim]
    before = image.narrow(dim, 1, reach).flip(dim)
    after = image.narrow(dim, size - 1 - reach, reach).flip(dim)
    wide = torch.cat([before, image, after], dim)
    torch.mul(image, weights[0], out=out)
    for k in range(1, reach + 1):
        left, right = wide.narrow(dim, reach - k, size), wide.narrow(dim, reach + k, size)
        torch.add(left, right, out=buffer)
        out.add_(buffer, alpha=weights[k])
