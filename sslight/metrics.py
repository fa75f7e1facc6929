"""How spread out features are: measures that need no labels (torch only, float64 inside).

All take features ``[N, D]`` and return a 0-d float64 tensor on the features' device (on the CPU
where the device has no float64). They work through the rows in blocks, so memory is bounded by ``D
x D``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

#: Rows converted to float64 at a time.
BLOCK = 4096
#: Singular values below this share of the features' norm are rounding, not signal.
NOISE = 1e-7


def feature_std(features: Tensor) -> Tensor:
    """Standard deviation of L2-normalised features per dimension, averaged, times ``sqrt(D)``.

    1 where directions are spread evenly over the sphere, 0 where all rows point the same way: the
    collapse indicator of SimSiam (Chen & He, 2021, arXiv:2011.10566, section 4.1), scaled so that
    it does not depend on the width. Rows are normalised here; the deviation is the population's.

    Args:
        features: ``[N, D]``, any scale.
    """
    rows = _normalised(_checked(features))
    mean = _sum(block.sum(0) for block in _blocks(rows)) / len(rows)
    variance = _sum((block - mean).square().sum(0) for block in _blocks(rows)) / len(rows)
    return variance.sqrt().mean() * math.sqrt(features.shape[1])


def effective_rank(features: Tensor, *, center: bool = True) -> Tensor:
    """Effective rank (Roy & Vetterli, 2007): exp of the entropy of the singular values' shares.

    Between 1 and ``min(N, D)``; 0 where nothing is left (all rows equal, centred). Rows are taken
    as they come: nothing is normalised.

    Args:
        features: ``[N, D]``.
        center: Subtract the mean row first (the default here; the paper's definition is of a matrix
            as it is, ``center=False``). Uncentred, the mean of non-negative features dominates.
    """
    values = singular_values(features, center=center)
    share = values / values.sum()
    entropy = -torch.where(share > 0, share * share.log(), 0.0).sum()
    return torch.where(values.sum() > 0, entropy.exp(), 0.0)


def rankme(features: Tensor, *, epsilon: float = 1e-7) -> Tensor:
    """RankMe (Garrido et al., 2023, arXiv:2210.02885, eq. 1-2), uncentred.

    ``exp(-sum p log p)`` with ``p = s / sum(s) + epsilon`` over the ``min(N, D)`` singular values.

    Args:
        features: ``[N, D]``; the paper uses 25,600 rows, fewer bound the value by ``N``.
        epsilon: The paper's constant.
    """
    values = singular_values(features, center=False)
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + epsilon
    return (-(share * share.log()).sum()).exp()


def alpha_req(features: Tensor, *, first: int = 4, last: int = 100) -> Tensor:
    """alpha-ReQ (Agrawal et al., 2022): how fast the eigenvalues of the covariance decay.

    The slope of a line through ``(log j, -log lambda_j)`` for the j-th largest eigenvalue, by least
    squares with weights ``1 / j``, as the authors fit it. Near 1 is best by the paper; larger means
    few directions carry the variance, smaller that many are noise. NaN where fewer than two
    eigenvalues are left from the first on.

    Args:
        features: ``[N, D]``; centred here.
        first: First j; the leading ones do not follow a power law.
        last: Last j; at most the number of eigenvalues above rounding.
    """
    eigenvalues = singular_values(features, center=True).square()
    last = min(last, int((eigenvalues > 0).sum()))
    if last <= first:
        return eigenvalues.new_tensor(math.nan)
    j = torch.arange(first, last + 1, dtype=torch.float64, device=eigenvalues.device)
    x, y, weight = j.log(), -eigenvalues[first - 1 : last].log(), 1 / j
    x = x - (weight * x).sum() / weight.sum()
    return (weight * x * y).sum() / (weight * x.square()).sum()


def alignment(a: Tensor, b: Tensor) -> Tensor:
    """Alignment (Wang & Isola, 2020, arXiv:2005.10242, section 4.1.1) of each pair, float64.

    Squared distance of L2-normalised features of two views of an image, ``[N]``: 0 where views do
    not matter, about 2 where they share nothing. Its mean is the paper's with exponent 2.

    Args:
        a: ``[N, D]``.
        b: ``[N, D]``, the other views of the same images.
    """
    a, b = (_normalised(_checked(x)).double() for x in (a, b))
    return (a - b).square().sum(1)


def uniformity(features: Tensor, *, t: float = 2.0, block: int = 1024) -> Tensor:
    """Uniformity (Wang & Isola, 2020, arXiv:2005.10242, section 4.1.2); lower is more uniform.

    ``log mean over pairs i < j of exp(-t |x_i - x_j|^2)`` of L2-normalised rows: 0 where all rows
    are equal, about ``-2 t`` where they spread evenly over a high-dimensional sphere. All pairs are
    used, so time grows with ``N^2``.

    Args:
        features: ``[N, D]``, any scale; rows are normalised here.
        t: Sharpness of the kernel.
        block: Rows compared at a time.
    """
    rows = _normalised(_checked(features))
    total = torch.zeros((), dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), block):
        part = rows[start : start + block].double()
        kernel = _pair_kernel(part, part, t)
        total += (kernel.sum() - kernel.diagonal().sum()) / 2
        for other in range(start + block, len(rows), block):
            total += _pair_kernel(part, rows[other : other + block].double(), t).sum()
    return (total / (len(rows) * (len(rows) - 1) / 2)).log()


def singular_values(features: Tensor, *, center: bool) -> Tensor:
    """Singular values of ``[N, D]`` features, from the smaller Gram matrix in float64.

    Values below ``1e-7`` of the (uncentred) Frobenius norm are set to zero: they are float32's
    rounding.

    Args:
        features: ``[N, D]``.
        center: Subtract the mean row first.
    """
    rows = _on_float64_device(_checked(features))
    squared = _sum(block.square().sum() for block in _blocks(rows))
    mean = _sum(block.sum(0) for block in _blocks(rows)) / len(rows)
    offset = mean if center else torch.zeros_like(mean)
    if rows.shape[0] < rows.shape[1]:
        whole = rows.double() - offset
        gram = whole @ whole.T
    else:
        gram = _sum((b - offset).T @ (b - offset) for b in _blocks(rows))
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)
    return torch.where(values > NOISE * squared.sqrt(), values, 0.0)


def _pair_kernel(a: Tensor, b: Tensor, t: float) -> Tensor:
    """``exp(-t |a_i - b_j|^2)``; as a product, since float64 has digits to spare here."""
    squared = torch.addmm(a.square().sum(1, keepdim=True) + b.square().sum(1), a, b.T, alpha=-2)
    return squared.clamp_min_(0).mul_(-t).exp_()


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2 or not features.is_floating_point():
        raise ValueError(
            f"features must be a floating-point [N, D] with N >= 2, got {features.dtype} "
            f"{tuple(features.shape)}. Pool or flatten each image's features to one vector first."
        )
    return features.detach()


def _normalised(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(_on_float64_device(features).float(), dim=1)


def _on_float64_device(features: Tensor) -> Tensor:
    return features.cpu() if features.device.type == "mps" else features


def _sum(parts: Iterator[Tensor]) -> Tensor:
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK].double()
