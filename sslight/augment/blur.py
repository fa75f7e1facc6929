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
        copy = x.clone(memory_format=torch.contiguous_format)
        return _blur_large_(copy, sigma.tolist(), kernel // 2)
    return _blur_grouped(x, gaussian_kernels(sigma, kernel))


def blur_one_(x: Tensor, sigma: float, kernel: int) -> Tensor:
    """Blur one image ``[1, C, h, w]`` in memory without gaps as :func:`gaussian_blur`, in place."""
    if x.shape[-1] >= _LARGE:
        return _blur_large_(x, [sigma], kernel // 2)
    return x.copy_(gaussian_blur(x, torch.tensor([sigma]), kernel))


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


def _blur_large_(x: Tensor, sigmas: list[float], radius: int) -> Tensor:
    """Blur ``[n, C, h, w]`` in place by weighted sums of shifted images.

    Fresh memory costs more than the sums, since the system maps it page by page: an image is
    written over itself, and two pieces of scratch serve all of them.
    """
    _, channels, height, width = x.shape
    most = channels * max(height * (width + 2 * radius), (height + 2 * radius) * width)
    wide, buffer = x.new_empty(most), torch.empty_like(x[0])
    for image, sigma in zip(x, sigmas, strict=True):
        weights = _half_kernel(sigma, radius)
        for dim in (2, 1):
            _blur_lines_(image, wide, buffer, weights, dim)
    return x


def _half_kernel(sigma: float, radius: int) -> list[float]:
    """Return the kernel from its centre on, of sum 1, without what lies beyond 5 sigma."""
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    reach = min(radius, math.ceil(5 * sigma))
    return [w / total for w in weights[: reach + 1]]


def _blur_lines_(
    image: Tensor, scratch: Tensor, buffer: Tensor, weights: list[float], dim: int
) -> None:
    """Blur ``[C, h, w]`` along one dimension, using that the kernel is symmetric."""
    reach, size = len(weights) - 1, image.shape[dim]
    shape = [n + 2 * reach * (k == dim) for k, n in enumerate(image.shape)]
    wide = scratch[: math.prod(shape)].view(shape)
    wide.narrow(dim, reach, size).copy_(image)
    wide.narrow(dim, 0, reach).copy_(image.narrow(dim, 1, reach).flip(dim))
    wide.narrow(dim, reach + size, reach).copy_(
        image.narrow(dim, size - 1 - reach, reach).flip(dim)
    )
    image.mul_(weights[0])
    for k in range(1, reach + 1):
        left, right = wide.narrow(dim, reach - k, size), wide.narrow(dim, reach + k, size)
        torch.add(left, right, out=buffer)
        image.add_(buffer, alpha=weights[k])
